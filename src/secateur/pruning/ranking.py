"""Scores and a sparsity in, the items to keep out: keep the k best of every set of competitors.

The count is exact: of ``n`` items at sparsity ``s``, ``round(s * n)`` (half to even, in decimal
arithmetic) are removed; among equal scores the lower index goes first; ``s = 0`` removes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from secateur.core.bounds import check_sparsity, whole
from secateur.core.errors import SecateurError


def check_seed(seed: int) -> int:
    """The seed, if it is a whole number that is not negative."""
    if not whole(0).allows(seed):
        raise SecateurError(f"seed {seed!r}: allowed is a whole number that is not negative, such as 0")
    return int(seed)


def removal_count(items: int, sparsity: float) -> int:
    """How many of ``items`` go at ``sparsity``, exactly.

    >>> removal_count(10, 0.25), removal_count(10, 0.35), removal_count(50, 0.57)
    (2, 4, 28)
    """
    return round(Fraction(repr(check_sparsity(sparsity))) * items)


class Ranking:
    """The order in which the items of one set of competitors go, from one sort, for every sparsity.

    Args:
        scores: the score tensors of the competing layers, any shapes; higher means keep.

    Raises:
        SecateurError: a score is NaN.
    """

    def __init__(self, scores: Sequence[Tensor]):
        self.shapes = [s.shape for s in scores]
        self._rank = self._rank_order(torch.cat([check_scores(s).flatten() for s in scores]))

    def _rank_order(self, flat: Tensor) -> Tensor:
        order = torch.sort(flat, stable=True).indices
        rank = torch.empty_like(order)
        rank[order] = torch.arange(order.numel(), device=order.device)
        return rank

    @property
    def items(self) -> int:
        """How many items compete."""
        return self._rank.numel()

    @property
    def order(self) -> Tensor:
        """The items of all layers one after the other by their places, in the order in which they go, on the CPU."""
        rank = self._rank.cpu()
        order = torch.empty_like(rank)
        order[rank] = torch.arange(rank.numel())
        return order

    def keep(self, sparsity: float) -> list[Tensor]:
        """What stays at a sparsity: one boolean tensor a layer, in the shape of its scores, on the CPU."""
        return self.take(removal_count(self.items, sparsity))

    def take(self, count: int, bounds: Sequence[tuple[int, int]] | None = None) -> list[Tensor]:
        """What stays when ``count`` items go, the lowest first.

        Args:
            count: how many go in all.
            bounds: the least and the most that may go of each layer. They hold before the count does: where
                the two contradict each other, as near the count goes as the bounds allow.
        """
        kept = self._parts((self._rank >= count).cpu())
        if bounds is None or all(low <= k.numel() - int(k.sum()) <= high
                                 for k, (low, high) in zip(kept, bounds, strict=True)):
            return kept
        return self._parts(self._keep_within(count, bounds))

    def _keep_within(self, count: int, bounds: Sequence[tuple[int, int]]) -> Tensor:
        """The lowest of each layer up to its least go, those above its most stay, the rest compete."""
        order = self.order
        sizes = torch.tensor([shape.numel() for shape in self.shapes])
        owner = torch.arange(len(sizes)).repeat_interleave(sizes)[order]
        place = torch.empty_like(order)
        for layer, size in enumerate(sizes.tolist()):
            place[owner == layer] = torch.arange(size)
        low, high = (torch.tensor(side)[owner] for side in zip(*bounds, strict=True))
        gone = place < low
        free = (place < high) & ~gone
        gone |= free & (free.cumsum(0) <= count - int(gone.sum()))
        kept = torch.empty_like(gone)
        kept[order] = ~gone
        return kept

    def _parts(self, kept: Tensor) -> list[Tensor]:
        parts = kept.split([shape.numel() for shape in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]


class GroupRanking(Ranking):
    """The order in every group of the last axis: each group loses as many, the lowest of its own.

    >>> GroupRanking([torch.tensor([[4.0, 1, 3, 2], [5, 5, 5, 5]])]).take(4)[0].int().tolist()
    [[1, 0, 1, 0], [0, 0, 1, 1]]
    """

    def __init__(self, scores: Sequence[Tensor]):
        self.group = scores[0].shape[-1]
        super().__init__(scores)

    def _rank_order(self, flat: Tensor) -> Tensor:
        """All that go first of their groups before all that go second, and so on."""
        within = flat.view(-1, self.group).sort(dim=1, stable=True).indices.argsort(dim=1)
        groups = torch.arange(len(within), device=flat.device)[:, None]
        return (within * len(within) + groups).flatten()


def check_scores(scores: Tensor) -> Tensor:
    """The scores, if none is NaN.

    Raises:
        SecateurError: one is.
    """
    if torch.isnan(scores).any():
        raise SecateurError(f"{int(torch.isnan(scores).sum())} of {scores.numel()} scores are NaN: weights or signals "
                            "are not finite")
    return scores.detach()


def share_out(wanted: Sequence[float], total: int, bounds: Sequence[tuple[int, int]]) -> list[int]:
    """Whole numbers near ``wanted`` that sum to ``total``: floors, then one more by largest remainder.

    Where ``bounds`` (least and most of each) cannot sum to it, as near as they can.

    >>> share_out([1.5, 2.25, 0.25], 4, [(0, 9)] * 3)
    [2, 2, 0]
    """
    counts = [min(max(math.floor(w), low), high) for w, (low, high) in zip(wanted, bounds, strict=True)]
    while (left := total - sum(counts)):
        step = 1 if left > 0 else -1
        free = [i for i, (low, high) in enumerate(bounds) if low <= counts[i] + step <= high]
        if not free:
            break
        for i in sorted(free, key=lambda i: step * (counts[i] - wanted[i]))[:abs(left)]:
            counts[i] += step
    return counts
