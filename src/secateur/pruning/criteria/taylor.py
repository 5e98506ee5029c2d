"""Taylor: scores an item by the squared first-order change of the loss when it is removed."""

from __future__ import annotations

from torch import Tensor

from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals, have


class Taylor(Criterion):
    """Score a weight by ``(g w)**2``, a unit by the square of the sum of ``g w`` over its incoming weights
    (Molchanov et al., *Importance Estimation for Neural Network Pruning*, CVPR 2019).

    >>> import torch
    >>> w, g = torch.tensor([[2.0, 1.0]]), torch.tensor([[1.0, -3.0]])
    >>> Taylor().score(w, Signals(gradient=g)), Taylor().score(w, Signals("neuron", gradient=g))
    (tensor([[4., 9.]]), tensor([1.]))
    """

    granularities = frozenset({"weight", "neuron"})
    needs = frozenset({"gradient"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """One score an item, in squared units of the loss."""
        change = weight * have(signals.gradient)
        return (change.sum(1) if signals.granularity == "neuron" else change).square()
