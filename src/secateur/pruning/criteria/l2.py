"""L2: scores a neuron by the Euclidean norm of its incoming weights."""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals


class L2(Criterion):
    """Score a unit by the L2 norm of its weights (Li et al., *Pruning Filters for Efficient ConvNets*,
    ICLR 2017, with the L2 norm in place of L1).

    >>> L2().score(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), Signals())
    tensor([5., 1.])
    """

    granularities = frozenset({"neuron"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """The norm of every row: ``(units, values)`` to ``(units,)``."""
        return torch.linalg.vector_norm(weight, dim=1)
