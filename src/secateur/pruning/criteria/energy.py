"""Energy: scores a neuron by the size of what it passes to the next layer."""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals, have


class Energy(Criterion):
    """Score a unit by the root mean square of its activation times the norm of its outgoing weights: the root mean
    square of the change of the next layer's outputs when the unit is removed and nothing else changes.

    >>> gram, out = torch.diag(torch.tensor([4.0, 9.0])), torch.tensor([[3.0], [1.0]])
    >>> Energy().score(torch.ones(2, 3), Signals("neuron", unit_gram=gram, outgoing=out))
    tensor([6., 3.])
    """

    granularities = frozenset({"neuron"})
    needs = frozenset({"unit_gram", "outgoing"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """Size of activation times size of outgoing weights: ``(units,)``."""
        size = have(signals.unit_gram).diagonal().clamp_min(0).sqrt()
        return size * torch.linalg.vector_norm(have(signals.outgoing), dim=1)
