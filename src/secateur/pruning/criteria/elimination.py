"""Elimination: scores a neuron by the error of the next layer without it, after a refit."""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.core.linalg import damp, inverse
from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals, have


class Elimination(Criterion):
    """Remove units one at a time. Each step removes the unit whose removal costs the next layer's outputs least after a
    refit of the weights that read the other units, and refits them: Optimal Brain Surgeon on whole units (Hassibi and
    Stork, NeurIPS 1992; for columns of one matrix Kurtic et al., *ZipLM*, NeurIPS 2023).

    The score is the cost at the time a unit goes, or the greatest so far, so that what goes earlier is worth less.

    >>> gram = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> out = torch.tensor([[1.0], [1.0], [1.0]])
    >>> score = Elimination().score(torch.ones(3, 1), Signals("neuron", unit_gram=gram, outgoing=out))
    >>> score.argsort().tolist(), round(float(score[2]), 1)
    ([0, 2, 1], 1.0)
    """

    granularities = frozenset({"neuron"})
    needs = frozenset({"unit_gram", "outgoing"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """The cost of every unit when it goes: ``(units,)``, float64, in squared units of the next layer's outputs."""
        return costs(have(signals.unit_gram).double(), have(signals.outgoing).double())


def costs(gram: Tensor, out: Tensor) -> Tensor:
    """The cost at which each unit goes, and a little more than that of the unit before it."""
    left, weights, here = inverse(damp(gram[None]))[0], out.clone(), torch.arange(len(gram), device=gram.device)
    found, worst = torch.zeros_like(gram[0]), gram.new_zeros(())
    gone = torch.zeros(len(gram), dtype=torch.bool, device=gram.device)
    for step in range(len(gram)):
        # Rows that went cost time in every further step: at half of them the matrix is copied without them.
        if step and 2 * int(gone.sum()) >= len(gone):
            left, weights, here = left[~gone][:, ~gone], weights[~gone], here[~gone]
            gone = gone[~gone]
        lengths = torch.linalg.vector_norm(weights, dim=1)
        cost = lengths.square() / left.diagonal().clamp_min(torch.finfo(left.dtype).tiny)
        pick = int(cost.masked_fill(gone, torch.inf).argmin())
        worst = torch.maximum(worst * (1 + 1e-9), cost[pick])  # never a tie, which would go by index
        found[here[pick]], gone[pick] = worst, True
        share = left[pick] / left[pick, pick]
        # in place: the products of a thousand units would otherwise be written to new memory a thousand times
        weights.addr_(share, weights[pick].clone(), alpha=-1)
        left.addr_(share, left[pick].clone(), alpha=-1)
    return found
