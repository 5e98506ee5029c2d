"""Cholesky: scores a neuron by what its activation adds to those of higher-scoring neurons."""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals, have


class Cholesky(Criterion):
    """Score a unit by its pivot in the pivoted Cholesky decomposition of the Gram matrix of the activations:
    each step takes the unit that the units taken before explain worst (column subset selection, Businger and
    Golub 1965). The score is the part of its mean square that they leave, which falls from step to step.

    >>> gram = torch.tensor([[4.0, 4.0, 0.0], [4.0, 5.0, 0.0], [0.0, 0.0, 2.0]])
    >>> Cholesky().score(torch.ones(3, 1), Signals("neuron", unit_gram=gram))
    tensor([0.8000, 5.0000, 2.0000])
    """

    granularities = frozenset({"neuron"})
    needs = frozenset({"unit_gram"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """The pivot of every unit: ``(units,)``, in squared units of the activation."""
        gram = have(signals.unit_gram)
        return _pivots(gram.double()).to(gram.dtype)


def _pivots(gram: Tensor) -> Tensor:
    """The pivot with which each row of a positive semidefinite matrix is taken, greatest first."""
    size = len(gram)
    left, taken = gram.diagonal().clone(), torch.zeros(size, dtype=torch.bool, device=gram.device)
    factor, found = torch.zeros_like(gram), torch.zeros_like(left)
    for step in range(size):
        pick = int(torch.where(taken, -1.0, left).argmax())
        found[pick], taken[pick] = left[pick].clamp_min(0), True
        if found[pick] == 0:
            break
        column = gram[:, pick] - factor[:, :step] @ factor[pick, :step]
        factor[:, step] = column / found[pick].sqrt()
        left = (left - factor[:, step].square()).clamp_min(0)
    return found
