"""Terms for the loss that drive weights, or whole units, towards zero before they are cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from secateur import graph
from secateur.core.types import Target
from secateur.pruning.layer_rules import resolve_skip


def l1(model: nn.Module, strength: float, skip: Sequence[str] = ()) -> Tensor:
    """``strength`` times the sum of the absolute values of all weights that can be cut: add it to the loss.

    Biases and norms are left out, and the modules named in ``skip`` (as in ``sc.plan``). Weights that a pruner
    holds at zero add nothing (Tibshirani, *Regression Shrinkage and Selection via the Lasso*, 1996).

    >>> net = nn.Linear(2, 1)
    >>> _ = torch.nn.init.constant_(net.weight, -3.0)
    >>> l1(net, 0.5).item()
    3.0
    """
    return strength * _sum([weight.abs().sum() for _, weight in _prunable_weights(model, skip)])


def group_lasso(model: nn.Module, strength: float, skip: Sequence[str] = ()) -> Tensor:
    """``strength`` times the sum of the norms of all units' incoming weights, each norm times the root of their number.

    A unit is an output: a row of a linear layer, a filter of a convolution. Whole units fall to zero together,
    ready to be removed (Yuan and Lin, *Model selection and estimation in regression with grouped variables*, 2006;
    Wen et al., *Learning Structured Sparsity in Deep Neural Networks*, NeurIPS 2016).

    >>> net = nn.Linear(2, 3, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[3.0, 4.0], [0.0, 0.0], [5.0, 12.0]]))
    >>> round(group_lasso(net, 1.0).item() / 2 ** 0.5, 4)
    18.0
    """
    terms = []
    for target, weight in _prunable_weights(model, skip):
        rows = weight.movedim(target.axes.index("out"), 0).flatten(1)
        terms.append(rows.shape[1] ** 0.5 * _norms(rows).sum())
    return strength * _sum(terms)


def _norms(rows: Tensor) -> Tensor:
    """The norm of every row, ``(n, values)`` to ``(n,)``; a row of zeros has the gradient zero, not NaN."""
    zero = (rows == 0).all(1)
    return torch.linalg.vector_norm(torch.where(zero[:, None], torch.ones_like(rows), rows), dim=1) * ~zero


def _prunable_weights(model: nn.Module, skip: Sequence[str]) -> Iterator[tuple[Target, Tensor]]:
    """Every target outside ``skip`` with its weight."""
    skipped = resolve_skip(model, skip)
    yield from ((t, model.get_parameter(t.name)) for t in graph.targets(model) if t.module not in skipped)


def _sum(terms: Sequence[Tensor]) -> Tensor:
    """The sum; 0 where there is nothing to add."""
    return torch.stack(list(terms)).sum() if terms else torch.zeros(())
