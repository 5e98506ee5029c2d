"""Linear: every step removes the same number of items."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.training.schedules.base import Schedule


@dataclass(frozen=True)
class Linear(Schedule):
    """Remove at an even pace.

    >>> [Linear(0.8, begin=100, end=200).at(step) for step in (0, 150, 175, 200)]
    [0.0, 0.4, 0.6000000000000001, 0.8]
    """

    def share(self, progress: float) -> float:
        """The progress itself."""
        return progress
