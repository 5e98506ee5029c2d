"""One-shot: nothing is removed until the end, then all at once."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.training.schedules.base import Schedule


@dataclass(frozen=True)
class OneShot(Schedule):
    """Keep the initial sparsity up to ``end`` and reach the target there, in one cut.

    >>> [OneShot(0.9, end=100).at(step) for step in (0, 99, 100, 200)]
    [0.0, 0.0, 0.9, 0.9]
    """

    def share(self, progress: float) -> float:
        """0 before the end, 1 at it."""
        return float(progress >= 1)
