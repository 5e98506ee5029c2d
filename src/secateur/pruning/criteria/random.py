"""Random: scores at random, the control that every criterion has to beat."""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals


class Random(Criterion):
    """Score every item by a uniform random number drawn from the seed: a control, not a method.

    >>> Random().score(torch.zeros(3, 2), Signals(seed=0)).shape
    torch.Size([3, 2])
    """

    granularities = frozenset({"weight", "neuron"})
    needs = frozenset({"seed"})
    control = True

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """Uniform draws: the shape of ``weight`` for weights, ``(units,)`` for a matrix of units."""
        assert signals.seed is not None
        generator = torch.Generator().manual_seed(signals.seed)
        shape = weight.shape if signals.granularity == "weight" else weight.shape[:1]
        return torch.rand(shape, generator=generator).to(weight.device)
