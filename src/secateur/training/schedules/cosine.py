"""Cosine: the sparsity rises slowly at both ends and fast between."""

from __future__ import annotations

import math
from dataclasses import dataclass

from secateur.training.schedules.base import Schedule


@dataclass(frozen=True)
class Cosine(Schedule):
    """Follow half a wave of the cosine.

    >>> [round(Cosine(0.8, end=100).at(step), 4) for step in (0, 25, 50, 100)]
    [0.0, 0.1172, 0.4, 0.8]
    """

    def share(self, progress: float) -> float:
        """``(1 - cos(pi * progress)) / 2``."""
        return (1 - math.cos(math.pi * progress)) / 2
