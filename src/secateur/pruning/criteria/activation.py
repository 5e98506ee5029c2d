"""Activation: scores a neuron by its mean activation."""

from __future__ import annotations

from torch import Tensor

from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals, have


class Activation(Criterion):
    """Score a unit by the absolute value of its mean activation (Molchanov et al., *Pruning Convolutional
    Neural Networks for Resource Efficient Inference*, ICLR 2017, section 2.2).

    >>> import torch
    >>> Activation().score(torch.ones(2, 3), Signals("neuron", unit_mean=torch.tensor([0.5, -2.0])))
    tensor([0.5000, 2.0000])
    """

    granularities = frozenset({"neuron"})
    needs = frozenset({"unit_mean"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """The mean activation of every unit: ``(units,)``."""
        return have(signals.unit_mean).abs()
