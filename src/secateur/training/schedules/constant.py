"""Constant: the target sparsity from the first step on."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.training.schedules.base import Schedule


@dataclass(frozen=True)
class Constant(Schedule):
    """Keep the initial sparsity before ``begin`` and the target from there on: for a network that is sparse
    all along, as SET and RigL train it, or that is cut first and trained on.

    >>> [Constant(0.9, begin=50).at(step) for step in (0, 49, 50, 200)]
    [0.0, 0.0, 0.9, 0.9]
    """

    def at(self, step: int) -> float:
        """The sparsity at a step, in [0, 1)."""
        return self.target if step >= self.begin else self.initial

    def share(self, progress: float) -> float:
        """1 throughout."""
        return 1.0
