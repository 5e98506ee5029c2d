"""L1: scores a neuron by the sum of the absolute values of its incoming weights."""

from __future__ import annotations

from torch import Tensor

from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals


class L1(Criterion):
    """Score a unit by the L1 norm of its weights (Li et al., *Pruning Filters for Efficient ConvNets*, ICLR 2017).

    >>> import torch
    >>> L1().score(torch.tensor([[3.0, -4.0], [0.0, 1.0]]), Signals())
    tensor([7., 1.])
    """

    granularities = frozenset({"neuron"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """The norm of every row: ``(units, values)`` to ``(units,)``."""
        return weight.abs().sum(1)
