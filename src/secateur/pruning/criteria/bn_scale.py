"""BN scale: scores a channel by the scale factor of the batch norm after it."""

from __future__ import annotations

from torch import Tensor

from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals, have


class BnScale(Criterion):
    """Score a channel by the absolute factor of its batch norm (Liu et al., *Learning Efficient Convolutional
    Networks through Network Slimming*, ICCV 2017). A group without a batch norm is refused.

    >>> import torch
    >>> BnScale().score(torch.ones(2, 3), Signals("neuron", scale=torch.tensor([0.5, 2.0])))
    tensor([0.5000, 2.0000])
    """

    granularities = frozenset({"neuron"})
    needs = frozenset({"scale"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """The factor of every unit: ``(units,)``."""
        return have(signals.scale)
