"""FPGM: scores a neuron by its distance from the other neurons of its layer."""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.core.linalg import single
from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals


class Fpgm(Criterion):
    """Score a unit by the sum of the Euclidean distances of its weights from those of the other units: those
    near the geometric median are replaceable (He et al., *Filter Pruning via Geometric Median*, CVPR 2019).

    >>> Fpgm().score(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]), Signals())
    tensor([6.0000, 9.2426, 5.2426])
    """

    granularities = frozenset({"neuron"})

    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """The sum of distances of every row: ``(units, values)`` to ``(units,)``."""
        weight = single(weight)
        # Distances by matrix products lose the digits of rows that are close together, and these matter here.
        return torch.cdist(weight, weight, compute_mode="donot_use_mm_for_euclid_dist").sum(1)
