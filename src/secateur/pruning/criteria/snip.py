"""SNIP: scores a weight by the absolute value of gradient times weight."""

from __future__ import annotations

from torch import Tensor

from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals, have


class Snip(Criterion):
    """Score a weight by ``|g w|`` (Lee et al., *SNIP: Single-shot Network Pruning based on Connection
    Sensitivity*, ICLR 2019); the paper cuts a network before it is trained, all weights competing.

    >>> import torch
    >>> Snip().score(torch.tensor([[2.0, 1.0]]), Signals(gradient=torch.tensor([[1.0, -3.0]])))
    tensor([[2., 3.]])
    """

    granularities = frozenset({"weight"})
    needs = frozenset({"gradient"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """|g w|, in the shape of ``weight``, in units of the loss."""
        return (weight * have(signals.gradient)).abs()
