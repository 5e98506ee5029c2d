"""How sensitive each layer is, as one public function: what :mod:`secateur.pruning.scan` measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from secateur.data.calibration import calibration
from secateur.pruning.arguments import refuse_wrong_arguments
from secateur.pruning.criteria.base import CriterionChoice
from secateur.pruning.granularity import GranularityChoice
from secateur.pruning.scan import GRID, Scan
from secateur.pruning.selection import Selection
from secateur.pruning.spec import PruningSpec


@refuse_wrong_arguments
def sensitivity(model: nn.Module, data: Any, *, granularity: GranularityChoice = "weight",
                criterion: CriterionChoice = None, skip: Sequence[str | nn.Module] | None = None,
                layers: Mapping[str, Any] | None = None, example: Any = None, seed: int = 0,
                sparsities: Sequence[float] = GRID) -> Scan:
    """Prune each layer alone at each sparsity, and measure how far the network's outputs move.

    No label is needed: the outputs of the cut network are compared with those of the original as distributions
    over the last axis (the Kullback-Leibler divergence of their softmax, in nats).

    Args:
        model: a network that gives one tensor, ``(samples, ..., classes)``.
        data: samples of its input; the first 1,024 are used.
        granularity, criterion, skip, layers, example, seed: as in :func:`secateur.prune`.
        sparsities: fractions of each layer's items that go.

    Raises:
        SecateurError: as :func:`secateur.plan` does; outputs that are no such tensor, or not finite.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> found = sensitivity(net, torch.rand(32, 4), sparsities=(0.5, 0.75), skip=())
    >>> [(c.name, c.removed) for c in found.curves], found.samples
    ([('0.weight', (0, 16, 24, 31)), ('2.weight', (0, 12, 18, 23))], 32)
    """
    spec = PruningSpec(granularity=granularity, criterion=criterion, skip=skip, layers=layers, seed=seed)
    return Selection(model, spec, samples=calibration(data), example=example).scan(sparsities)
