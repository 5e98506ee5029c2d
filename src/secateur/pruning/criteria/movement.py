"""Movement: scores a weight by how far a short training moves it away from zero."""

from __future__ import annotations

from torch import Tensor

from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals, have


class Movement(Criterion):
    """Score a weight by minus the sum over training steps of gradient times weight (Sanh et al.,
    *Movement Pruning*, NeurIPS 2020). The training is one pass of plain gradient descent over the samples,
    on a copy; pruning while a network trains is the business of a training algorithm.

    >>> import torch
    >>> Movement().score(torch.tensor([[2.0, 1.0]]), Signals(movement=torch.tensor([[-0.5, 0.25]])))
    tensor([[ 0.5000, -0.2500]])
    """

    granularities = frozenset({"weight"})
    needs = frozenset({"movement"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """Minus the sum of gradient times weight, in the shape of ``weight``."""
        return -have(signals.movement)
