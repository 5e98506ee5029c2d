"""OBD: scores a weight by the second-order change of the loss when it alone is removed."""

from __future__ import annotations

from torch import Tensor

from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals, have


class Obd(Criterion):
    """Score a weight by ``h w**2 / 2`` (LeCun et al., *Optimal Brain Damage*, NeurIPS 1989), with the mean
    squared gradient of the samples (the empirical Fisher) for the diagonal ``h`` of the Hessian.

    >>> import torch
    >>> Obd().score(torch.tensor([[2.0, 1.0]]), Signals(squared_gradient=torch.tensor([[1.0, 6.0]])))
    tensor([[2., 3.]])
    """

    granularities = frozenset({"weight"})
    needs = frozenset({"squared_gradient"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """h w² / 2, in the shape of ``weight``, in units of the loss."""
        return weight.square() * have(signals.squared_gradient) / 2
