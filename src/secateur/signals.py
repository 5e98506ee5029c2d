"""What a criterion may ask for besides the weight itself, gathered only when it declares the need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from secateur.errors import SecateurError


@dataclass(frozen=True)
class Signals:
    """The signals of one tensor; a field that nobody declared stays ``None``.

    ``granularity``: what the items are, which says what shape the scores have.
    ``seed``: a whole number from which a criterion may draw at random, different for every tensor.
    """

    granularity: str = "weight"
    seed: int | None = None


def check_needs(what: str, needs: Iterable[str], given: dict[str, Any]) -> None:
    """Refuse work whose needs are not met, naming every missing one.

    Raises:
        SecateurError: a need is unknown or was not given.
    """
    known = {f.name for f in fields(Signals)}
    needs = sorted(needs)
    if strange := [n for n in needs if n not in known]:
        raise SecateurError(f"{what} declares unknown needs {', '.join(strange)}; allowed: {', '.join(sorted(known))}")
    if missing := [n for n in needs if given.get(n) is None]:
        raise SecateurError(f"{what} needs {', '.join(missing)}, got {', '.join(sorted(given)) or 'nothing'}")
