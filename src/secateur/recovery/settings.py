"""Whether the settings of a recovery are what they may be."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import nn

from secateur.core.errors import SecateurError


def check(recovery: str, item: object, fine: Mapping[str, bool], allowed: str) -> None:
    """Refuse the first setting that is not fine, with all that is allowed.

    Raises:
        SecateurError: one is not.
    """
    for name, good in fine.items():
        if not good:
            raise SecateurError(f"{recovery} {name} {getattr(item, name)!r}: allowed are {allowed}")


def whole(value: object, least: int) -> bool:
    """Whether a value is a whole number from ``least``.

    >>> whole(3, 1), whole(3.0, 1), whole(True, 0)
    (True, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def between(value: object, low: float, high: float) -> bool:
    """Whether a value is a finite number from ``low`` to ``high``, those among them.

    >>> between(1, 0, 1), between("1", 0, 1), between(math.inf, 0, math.inf)
    (True, False, False)
    """
    return all(map(number, (value, low, high))) and math.isfinite(value) and low <= value <= high  # type: ignore[arg-type,operator]


def above(value: object, low: float) -> bool:
    """Whether a value is a finite number above ``low``."""
    return between(value, low, math.inf) and value != low


def number(value: object) -> bool:
    """Whether a value is a number; truth values are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_learns(recovery: str, model: nn.Module) -> None:
    """Refuse to train a network of which nothing learns.

    Raises:
        SecateurError: all its parameters are frozen.
    """
    parameters = list(model.parameters())
    if not any(p.requires_grad for p in parameters):
        raise SecateurError(f"recovery {recovery}: no parameter of {len(parameters)} learns (requires_grad is False): "
                            "call requires_grad_(True) on those that may, or take a recovery that does not train")
