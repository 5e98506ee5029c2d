"""Leverage: scores a neuron by how poorly the other neurons can replace it."""

from __future__ import annotations

from torch import Tensor

from secateur.core.linalg import damp, inverse
from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals, have


class Leverage(Criterion):
    """Score a unit by its ridge leverage, the diagonal of ``G (G + d)^-1`` for the Gram matrix ``G`` of the
    activations and a damping ``d`` of 1% of their mean square (Alaoui and Mahoney, *Fast Randomized Kernel
    Ridge Regression*, NeurIPS 2015): near one where the unit is alone in its direction, near zero where
    others share it.

    >>> import torch
    >>> gram = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> Leverage().score(torch.ones(2, 1), Signals("neuron", unit_gram=gram)).round(decimals=4)
    tensor([0.9901, 0.9901])
    """

    granularities = frozenset({"neuron"})
    needs = frozenset({"unit_gram"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """The leverage of every unit, in [0, 1]: ``(units,)``."""
        gram = have(signals.unit_gram)
        left = inverse(damp(gram[None]))[0]
        return (left * gram.double()).sum(1).to(gram.dtype)
