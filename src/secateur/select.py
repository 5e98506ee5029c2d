"""Scores and a sparsity in, the items to keep out: keep the k best of every set of competitors.

The count is exact: of ``n`` items at sparsity ``s``, ``round(s * n)`` (half to even, in decimal
arithmetic) are removed; among equal scores the lower index goes first; ``s = 0`` removes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from secateur.errors import SecateurError


def check_sparsity(sparsity: float) -> float:
    """The sparsity as a float, if it is one.

    Raises:
        SecateurError: it is not a number in [0, 1).
    """
    if not isinstance(sparsity, (int, float)) or not 0 <= sparsity < 1:
        raise SecateurError(f"sparsity {sparsity!r}: allowed is a fraction removed in [0, 1), such as 0.9")
    return float(sparsity)


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
        flat = torch.cat([s.detach().flatten() for s in scores])
        if torch.isnan(flat).any():
            raise SecateurError(f"scores hold {int(torch.isnan(flat).sum())} NaN of {flat.numel()}: "
                                "weights or signals are not finite")
        order = torch.sort(flat, stable=True).indices
        self._rank = torch.empty_like(order)
        self._rank[order] = torch.arange(order.numel(), device=order.device)

    @property
    def items(self) -> int:
        """How many items compete."""
        return self._rank.numel()

    def keep(self, sparsity: float) -> list[Tensor]:
        """What stays at a sparsity: one boolean tensor a layer, in the shape of its scores, on the CPU."""
        kept = (self._rank >= removal_count(self.items, sparsity)).cpu()
        parts = kept.split([shape.numel() for shape in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]
