"""Wanda: scores a weight by its absolute value times the norm of its input."""

from __future__ import annotations

from torch import Tensor

from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals, have


class Wanda(Criterion):
    """Score a weight by ``|w| * ||x||`` (Sun et al., *A Simple and Effective Pruning Approach for Large
    Language Models*, ICLR 2024), with the root mean square for the norm: the same order.

    The paper lets the weights of one output compete; here the scope says which do.

    >>> import torch
    >>> Wanda().score(torch.tensor([[-2.0, 1.0]]), Signals(input_norm=torch.tensor([[1.0, 4.0]])))
    tensor([[2., 4.]])
    """

    granularities = frozenset({"weight"})
    needs = frozenset({"input_norm"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """|w| times the norm of its input, in the shape of ``weight``."""
        return weight.abs() * have(signals.input_norm)
