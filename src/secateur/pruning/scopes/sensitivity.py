"""Sensitivity: each layer gets a sparsity by how sensitive a scan finds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from secateur.pruning.granularity.base import Layer
from secateur.pruning.knapsack import least_loss
from secateur.pruning.ranking import removal_count, share_out
from secateur.pruning.scan import Scan
from secateur.pruning.scopes.base import Allocation, ScopeContext
from secateur.pruning.trial import Bounds

_STEPS = 100
"""Counts of a layer that are looked at: a scan measures eight and does not tell finer steps apart."""


@dataclass(frozen=True)
class Sensitivity(Allocation):
    """Choose the counts that sum to ``round(sparsity * items)`` and have the least predicted loss.

    Each layer is cut by itself at several sparsities (Han et al. 2015 choose by hand from such a scan; Frantar &
    Alistarh, *SPDY*, ICML 2022, by dynamic programming as here); the losses of the layers are taken to add up.
    """

    needs = frozenset({"scan"})

    def removals(self, layers: Sequence[Layer], sparsity: float, bounds: Bounds, context: ScopeContext) -> list[int]:
        """How many items of every layer go."""
        assert context.scan is not None
        total = removal_count(sum(layer.items for layer in layers), sparsity)
        total = min(max(total, sum(low for low, _ in bounds)), sum(high for _, high in bounds))
        choices = [levels(low, high) for low, high in bounds]
        return _allocate_exactly(choices, context.scan, total, bounds)


def levels(low: int, high: int) -> np.ndarray:
    """The counts of a layer that are looked at: all where they are few, else evenly spread.

    >>> levels(0, 3).tolist(), len(levels(10, 5000))
    ([0, 1, 2, 3], 101)
    """
    return np.unique(np.linspace(low, high, min(high - low, _STEPS) + 1).round().astype(np.int64))


def _allocate_exactly(choices: Sequence[np.ndarray], found: Scan, total: int, bounds: Bounds) -> list[int]:
    """The counts that sum to ``total`` at the least loss: first on the levels, then between them.

    At least ``total`` go on the levels; what is too much is given back where it wins most loss an item.
    """
    losses = [curve.at(c) for curve, c in zip(found.curves, choices, strict=True)]
    kept = [float(c.max()) - c for c in choices]
    budget = sum(float(c.max()) for c in choices) - total
    chosen = least_loss(kept, losses, budget) or [len(c) - 1 for c in choices]
    counts = [int(c[k]) for c, k in zip(choices, chosen, strict=True)]
    return _give_back(counts, choices, found, sum(counts) - total, bounds)


def _give_back(counts: list[int], choices: Sequence[np.ndarray], found: Scan, surplus: int,
               bounds: Bounds) -> list[int]:
    """Fewer by ``surplus`` items, from the layers whose curves rise most just under their counts."""
    while surplus > 0:
        steps = [min(surplus, n - int(c[c < n].max())) if (c < n).any() else 0
                 for n, c in zip(counts, choices, strict=True)]
        wins = [float(curve.at(np.array([n]))[0] - curve.at(np.array([n - s]))[0]) / s if s else -1.0
                for n, s, curve in zip(counts, steps, found.curves, strict=True)]
        best = int(np.argmax(wins))
        if not steps[best]:
            break
        counts[best] -= steps[best]
        surplus -= steps[best]
    return share_out([float(c) for c in counts], sum(counts) - max(0, surplus), bounds)
