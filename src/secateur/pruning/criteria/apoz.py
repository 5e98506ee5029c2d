"""APoZ: scores a neuron by how often its activation is not zero."""

from __future__ import annotations

from torch import Tensor

from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals, have


class Apoz(Criterion):
    """Score a unit by one minus its average percentage of zeros (Hu et al., *Network Trimming*, 2016). After an
    activation function that is never exactly zero, all scores are one, and units with lower numbers are removed first.

    >>> import torch
    >>> Apoz().score(torch.ones(2, 3), Signals("neuron", unit_zeros=torch.tensor([0.75, 0.25])))
    tensor([0.2500, 0.7500])
    """

    granularities = frozenset({"neuron"})
    needs = frozenset({"unit_zeros"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """The fraction of activations that are not zero: ``(units,)``."""
        return 1 - have(signals.unit_zeros)
