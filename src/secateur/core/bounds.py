"""Which values a setting may have, with the words for them, and one check of all settings of an item."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral, Real
from typing import Any

from secateur.core.errors import SecateurError


@dataclass(frozen=True)
class Bound:
    """What a setting may be; ``words`` end the sentence "allowed are ..."."""

    words: str
    allows: Callable[[Any], bool]


def check_settings(owner: str, values: Mapping[str, Any], **bounds: Bound) -> None:
    """Refuse the first setting that is out of bounds.

    Args:
        owner: begins the message; empty for the arguments of a function.
        values: the settings by name; those of an item are its ``vars``.
        bounds: what each of them may be.

    Raises:
        SecateurError: one is not; the message names it, its value and what is allowed.

    >>> check_settings("finetune", {"epochs": 3, "distil": 2.0}, epochs=whole(0), distil=between(0, 1))
    Traceback (most recent call last):
    secateur.core.errors.SecateurError: finetune distil 2.0: allowed are numbers in [0, 1]
    """
    for name, bound in bounds.items():
        if not bound.allows(value := values[name]):
            raise SecateurError(f"{owner} {name} {value!r}: allowed are {bound.words}".lstrip())


def whole(least: int) -> Bound:
    """Whole numbers from ``least``; truth values are none.

    >>> [whole(1).allows(value) for value in (3, 0, 3.0, True)]
    [True, False, False, False]
    """
    return Bound(f"whole numbers from {least}",
                 lambda value: is_number(value) and isinstance(value, Integral) and int(value) >= least)


def between(low: float, high: float, with_high: bool = True) -> Bound:
    """Numbers from ``low`` to ``high``.

    >>> [between(0, 1).allows(value) for value in (1, "1", True, math.nan)], between(0, 1, False).allows(1)
    ([True, False, False, False], False)
    """
    return Bound(f"numbers in [{low:g}, {high:g}{']' if with_high else ')'}",
                 lambda value: is_number(value) and low <= value <= high and (with_high or value != high))


def at_least(low: float) -> Bound:
    """Finite numbers from ``low``."""
    return Bound(f"finite numbers from {low:g}", lambda value: is_number(value) and low <= value < math.inf)


def above(low: float) -> Bound:
    """Finite numbers above ``low``."""
    return Bound(f"finite numbers above {low:g}", lambda value: is_number(value) and low < value < math.inf)


def optional(bound: Bound) -> Bound:
    """What a bound allows, and None.

    >>> optional(whole(1)).words, optional(whole(1)).allows(None)
    ('whole numbers from 1, or None', True)
    """
    return Bound(f"{bound.words}, or None", lambda value: value is None or bound.allows(value))


def kind(*classes: type) -> Bound:
    """Values of some classes.

    >>> kind(str).words, kind(str).allows("a"), kind(str).allows(str)
    ('values of class str', True, False)
    """
    return Bound(f"values of class {' or '.join(one.__name__ for one in classes)}",
                 lambda value: isinstance(value, classes))


def is_number(value: object) -> bool:
    """Whether a value is a number of Python or a scalar of NumPy; truth values and fractions are none."""
    return isinstance(value, Real) and not isinstance(value, (bool, Fraction))


def check_sparsity(sparsity: float) -> float:
    """The sparsity as a float, if it is one.

    Raises:
        SecateurError: it is not a number in [0, 1).

    >>> check_sparsity(50)
    Traceback (most recent call last):
    secateur.core.errors.SecateurError: sparsity 50: allowed is a fraction removed in [0, 1); did you mean 0.5?
    """
    if not is_number(sparsity) or not 0 <= sparsity < 1:
        percent = is_number(sparsity) and 1 < sparsity < 100
        hint = f"; did you mean {sparsity / 100:g}?" if percent else ", such as 0.9"
        raise SecateurError(f"sparsity {sparsity!r}: allowed is a fraction removed in [0, 1){hint}")
    return float(sparsity)


def check_round_to(round_to: int) -> int:
    """The multiple, if it is a positive whole number."""
    if not whole(1).allows(round_to):
        raise SecateurError(f"round_to {round_to!r}: allowed is a positive whole number, such as 8")
    return int(round_to)

def check_limit(max_loss: float | None, agreement: float | None) -> None:
    """Refuse both limits, none of them, or a number that is none.

    Raises:
        SecateurError: the message says what is allowed.
    """
    if (max_loss is None) == (agreement is None):
        got = "neither" if max_loss is None else f"max_loss {max_loss!r} and agreement {agreement!r}"
        raise SecateurError(f"a search takes max_loss (points of accuracy) or agreement (a fraction), one of them; got "
                            f"{got}")
    if max_loss is not None and not (is_number(max_loss) and 0 <= max_loss <= 100):
        raise SecateurError(f"max_loss {max_loss!r}: allowed are points of accuracy in [0, 100], such as 0.5")
    if agreement is not None and not (is_number(agreement) and 0 < agreement <= 1):
        is_percent = is_number(agreement) and 1 < agreement <= 100
        hint = f"did you mean {agreement / 100:g}?" if is_percent else "such as 0.98"
        raise SecateurError(f"agreement {agreement!r}: allowed is a fraction in (0, 1], {hint}")
