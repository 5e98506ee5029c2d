"""The contract of a schedule: a step of the training in, the sparsity that the network should have then out."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from secateur.core.bounds import check_settings, check_sparsity, optional, whole
from secateur.core.errors import SecateurError
from secateur.core.items import Item


@dataclass(frozen=True)
class Schedule(Item):
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
        check_settings("", vars(self), begin=whole(0), end=whole(0), every=whole(1), first=whole(0),
                       last=optional(whole(0)))
        for early, late in (("begin", "end"), ("first", "last")):
            earliest, step = getattr(self, early), getattr(self, late)
            if step is not None and step < earliest:
                raise SecateurError(f"{late} {step} comes before {early} {earliest}: allowed are steps from {earliest}")

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
