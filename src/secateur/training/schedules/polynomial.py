"""Polynomial: the sparsity rises fast at first and slowly at the end; cubic by default."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.core.bounds import above, check_settings
from secateur.training.schedules.base import Schedule


@dataclass(frozen=True)
class Polynomial(Schedule):
    """``target + (initial - target) * (1 - progress) ** exponent`` (Zhu and Gupta, *To prune, or not to prune*, 2017).

    With the exponent 3 this is the cubic schedule of that paper and the sparsity function of
    tf.contrib.model_pruning; with 1 it is linear.

    Raises:
        SecateurError: besides those of every schedule, an exponent that is not above 0.

    >>> [round(Polynomial(0.9, end=100).at(step), 4) for step in (0, 25, 50, 100)]
    [0.0, 0.5203, 0.7875, 0.9]
    """

    exponent: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings("", vars(self), exponent=above(0))

    def share(self, progress: float) -> float:
        """``1 - (1 - progress) ** exponent``."""
        return 1 - (1 - progress) ** self.exponent  # type: ignore[no-any-return]
