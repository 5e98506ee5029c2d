"""Magnitude: scores a weight by its absolute value."""

from __future__ import annotations

from torch import Tensor

from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals


class Magnitude(Criterion):
    """Score a weight by |w| (Han et al., *Learning both Weights and Connections*, NeurIPS 2015).

    >>> import torch
    >>> Magnitude().score(torch.tensor([[-2.0, 1.0]]), Signals())
    tensor([[2., 1.]])
    """

    granularities = frozenset({"weight"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """|w|, in the shape of ``weight``."""
        return weight.abs()
