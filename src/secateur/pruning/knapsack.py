"""One choice a layer, the sum of their costs within a budget, the sum of their losses least."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
_MOST = 20_000
"""Partial choices that are followed at once; beyond it, the best of each of as many steps of the cost."""


def least_loss(costs: Sequence[Numbers], losses: Sequence[Numbers], budget: float) -> list[int] | None:
    """The choice of each layer, or None where even the cheapest choices cost more than the budget.

    Layers are joined one after the other; of the partial choices stay those that no other beats in both cost and
    loss. That is exact up to :data:`_MOST` of them; beyond it the best of each step of the cost is followed, whose
    true cost counts, so that the budget always holds.

    Args:
        costs, losses: for each layer the cost and the loss of each of its choices.
        budget: the greatest sum of costs.

    >>> least_loss([np.array([4.0, 1.0])] * 2, [np.array([0.0, 3.0]), np.array([0.0, 2.0])], 5.0)
    [0, 1]
    """
    total, lost = np.zeros(1), np.zeros(1)
    steps: list[NDArray[Any]] = []
    rest = np.cumsum([0.0, *(c.min() for c in costs[::-1])])[::-1][1:]
    for cost, loss, least in zip(costs, losses, rest, strict=True):
        whole = (total[:, None] + cost).ravel()
        order = np.flatnonzero(whole + least <= budget * (1 + 1e-12))  # sums in another order round otherwise
        if not len(order):
            return None
        kept = order[_front(whole[order], (lost[:, None] + loss).ravel()[order])]
        total, lost = whole[kept], (lost[:, None] + loss).ravel()[kept]
        steps.append(np.stack(np.divmod(kept, len(cost)), 1))
    return _trace_back(steps, int(np.argmin(lost)))


def _front(cost: Numbers, loss: Numbers) -> NDArray[np.int64]:
    """The places that no other beats in both cost and loss, by rising cost; at most :data:`_MOST`.

    >>> _front(np.array([3.0, 1, 2, 2]), np.array([0.0, 5, 6, 4])).tolist()
    [1, 3, 0]
    """
    order = np.lexsort((loss, cost))
    best = np.minimum.accumulate(loss[order])
    rises = np.concatenate([[True], best[1:] < best[:-1]])
    kept = order[rises]
    if len(kept) <= _MOST:
        return kept
    step = np.floor((cost[kept] - cost[kept[0]]) / (cost[kept[-1]] - cost[kept[0]]) * (_MOST - 1))
    return kept[np.concatenate([step[1:] != step[:-1], [True]])]


def _trace_back(steps: Sequence[NDArray[Any]], last: int) -> list[int]:
    """The choices that led to the last one."""
    chosen = []
    for step in reversed(steps):
        last, choice = (int(v) for v in step[last])
        chosen.append(choice)
    return chosen[::-1]
