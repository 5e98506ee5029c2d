"""Exponential: every step removes the same fraction of the items left."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.training.schedules.base import Schedule


@dataclass(frozen=True)
class Exponential(Schedule):
    """Shrink the fraction left by the same factor at every step, from ``1 - initial`` to ``1 - target``.

    This is the pace of iterative magnitude pruning, which removes a fifth of what is left each round
    (Frankle and Carbin, *The Lottery Ticket Hypothesis*, ICLR 2019).

    >>> [round(1 - Exponential(0.99, end=100).at(step), 4) for step in (0, 50, 100)]
    [1.0, 0.1, 0.01]
    """

    def share(self, progress: float) -> float:
        """The share at which ``log(1 - sparsity)`` has gone ``progress`` of its way."""
        if self.target == self.initial:
            return 1.0
        left = (1 - self.initial) * ((1 - self.target) / (1 - self.initial)) ** progress
        return (1 - left - self.initial) / (self.target - self.initial)  # type: ignore[no-any-return]
