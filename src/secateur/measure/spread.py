"""How much outputs vary about their mean, gathered batch by batch."""

from __future__ import annotations

from torch import Tensor

_ROUNDING = 1e-6
"""Outputs that vary by less than this part of their size differ by float32 rounding alone."""
FEW = 16
"""Fewer rows than this lie so near to their own means, and fall to so few classes, that both say little of others."""


class Spread:
    """The squared distance of rows from their mean: of each column from its own, of few rows from that of all values.

    >>> import torch
    >>> spread = Spread()
    >>> spread.add(torch.tensor([[1.0, 5.0], [3.0, 7.0]]))
    >>> spread.total, spread.part(5.0, 84.0)  # the mean is 4: 9 + 1 + 1 + 9
    (20.0, 0.25)
    >>> spread.add(torch.tensor([[1.0, 5.0], [3.0, 7.0]]).repeat(7, 1))
    >>> spread.total  # 16 rows, the mean is (2, 6): 32 values that are 1 away
    32.0
    """

    def __init__(self) -> None:
        self._rows, self._gathers = 0, True
        self._origin = self._sum = self._squares = Tensor()

    def add(self, rows: Tensor) -> None:
        """Take ``(rows, columns)`` in float64; where the number of columns changes, nothing is said any more."""
        if not self._rows and len(rows):
            # Sums of squares about a row of the data: outputs far from zero would leave nothing of their variance.
            self._origin = rows[0].clone()
            self._sum, self._squares = rows.new_zeros(rows.shape[1]), rows.new_zeros(rows.shape[1])
        self._gathers = self._gathers and rows.shape[1] == len(self._origin)
        if self._gathers:
            near = rows - self._origin
            self._sum, self._squares = self._sum + near.sum(0), self._squares + near.square().sum(0)
            self._rows += len(rows)

    @property
    def total(self) -> float:
        """The summed squared distance from the mean."""
        about = (self._squares - self._sum.square() / self._rows).sum()
        if self._rows < FEW:
            means = self._origin + self._sum / self._rows
            about = about + self._rows * (means - means.mean()).square().sum()
        return float(about)

    def part(self, apart: float, size: float) -> float | None:
        """A squared distance as a part of the total; None where the outputs of that squared ``size`` do not vary."""
        varies = self._gathers and self._rows and self.total > _ROUNDING ** 2 * size
        return apart / self.total if varies else None
