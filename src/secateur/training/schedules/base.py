"""The contract of a schedule: a step of the training in, the sparsity that the network should have then out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from secateur.core.errors import SecateurError
from secateur.pruning.ranking import check_sparsity


@dataclass(frozen=True)
class Schedule(ABC):
    """Leads the sparsity from ``initial`` at step ``begin`` to ``target`` at step ``end``.

    A step is one step of the optimizer; step 0 is before the first. What is removed is chosen anew every
    ``every`` steps between the steps ``first`` and ``last``, and at ``end`` and ``last``, whatever ``every``
    is; without ``last``, to the end of the training.

    Raises:
        SecateurError: a sparsity outside [0, 1), steps that are negative or out of order, ``every`` below 1.
    """

    target: float
    begin: int = 0
    end: int = 100
    initial: float = 0.0
    every: int = 10
    first: int = 0
    last: int | None = None

    def __post_init__(self) -> None:
        check_sparsity(self.target)
        check_sparsity(self.initial)
        check_steps(vars(self))

    @abstractmethod
    def share(self, progress: float) -> float:
        """How much of the way from ``initial`` to ``target`` is done at a progress in [0, 1]; 1 at 1."""

    def at(self, step: int) -> float:
        """The sparsity at a step, in [0, 1)."""
        if step >= self.end:
            return self.target
        return self.initial + (self.target - self.initial) * self.share(self.progress(step))

    def progress(self, step: int) -> float:
        """How far a step is from ``begin`` to ``end``, in [0, 1]."""
        return min(1.0, max(0, step - self.begin) / max(1, self.end - self.begin))

    def due(self, step: int) -> bool:
        """Whether what is removed is to be chosen anew at a step."""
        if step < self.first or (self.last is not None and step > self.last):
            return False
        return (step - self.first) % self.every == 0 or step in (self.end, self.last)


CONTRACT = Schedule


def check_steps(given: Mapping[str, Any]) -> None:
    """Refuse steps that are no whole numbers, negative or out of order.

    Raises:
        SecateurError: they are.
    """
    for name in ("begin", "end", "every", "first", "last"):
        value, least = given[name], int(name == "every")
        if value is None and name == "last":
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise SecateurError(f"{name} {value!r}: allowed are whole numbers from {least}")
    for early, late in (("begin", "end"), ("first", "last")):
        if given[late] is not None and given[late] < given[early]:
            raise SecateurError(f"{late} {given[late]} comes before {early} {given[early]}: allowed are steps from "
                                f"{given[early]}")
