"""How sensitive each layer is, as one public function: what :mod:`secateur.pruning.scopes._scan` measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from secateur.data.calibration import calibration
from secateur.pruning.scopes._scan import GRID, Scan
from secateur.pruning.selection import Selection


def sensitivity(model: nn.Module, data: Any, granularity: str = "weight", criterion: str | None = None,
                skip: Sequence[str] = (), example: Any = None, sparsities: Sequence[float] = GRID,
                **settings: Any) -> Scan:
    """Cut each layer by itself at each sparsity, and see how far the network's outputs move.

    No label is needed: the outputs of the cut network are compared with those of the original as distributions
    over the last axis (the Kullback-Leibler divergence of their softmax, in nats).

    Args:
        model: a network that gives one tensor, ``(samples, ..., classes)``.
        data: samples of its input; the first 1,024 are used.
        granularity, criterion, skip, example, settings: as in :func:`secateur.plan`.
        sparsities: fractions of each layer's items that go.

    Raises:
        SecateurError: as :func:`secateur.plan` does; outputs that are no such tensor, or not finite.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> found = sensitivity(net, torch.rand(32, 4), sparsities=(0.5, 0.75))
    >>> [(c.name, c.removed) for c in found.curves], found.samples
    ([('0.weight', (0, 16, 24, 31)), ('2.weight', (0, 12, 18, 23))], 32)
    """
    return Selection(model, granularity, criterion, "layer", skip, example, samples=calibration(data),
                     **settings).scan(sparsities)
