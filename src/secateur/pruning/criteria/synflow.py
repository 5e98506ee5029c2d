"""SynFlow: scores a weight by its share of the flow through the network, without data."""

from __future__ import annotations

from torch import Tensor

from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals, have


class Synflow(Criterion):
    """Score a weight by ``|w|`` times the gradient of the sum of the outputs, all weights made positive and all
    inputs one (Tanaka et al., *Pruning Neural Networks without Any Data by Iteratively Conserving Synaptic
    Flow*, NeurIPS 2020). It needs one input for its shape. The paper scores anew in 100 rounds while it
    cuts; this is one round, which can empty a layer where all weights compete.

    >>> import torch
    >>> Synflow().score(torch.tensor([[-2.0, 1.0]]), Signals(flow=torch.tensor([[1.0, 3.0]])))
    tensor([[2., 3.]])
    """

    granularities = frozenset({"weight"})
    needs = frozenset({"flow"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """|w| times the flow behind and before it, in the shape of ``weight``."""
        return weight.abs() * have(signals.flow)
