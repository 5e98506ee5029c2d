"""GraSP: scores a weight by the gradient that would be lost without it."""

from __future__ import annotations

from torch import Tensor

from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals, have


class Grasp(Criterion):
    """Score a weight by ``w (H g)``: cutting those with small scores loses least of the squared gradient
    (Wang et al., *Picking Winning Tickets Before Training by Preserving Gradient Flow*, ICLR 2020, where the
    sign is the other way round). Made for networks that are not trained yet.

    >>> import torch
    >>> Grasp().score(torch.tensor([[2.0, 1.0]]), Signals(hessian_gradient=torch.tensor([[-1.0, 3.0]])))
    tensor([[-2.,  3.]])
    """

    granularities = frozenset({"weight"})
    needs = frozenset({"hessian_gradient"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """w (H g), in the shape of ``weight``."""
        return weight * have(signals.hessian_gradient)
