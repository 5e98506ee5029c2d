"""LAMP: all items compete by scores that are made comparable between layers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.core.errors import SecateurError
from secateur.pruning.scopes.base import Scope


@dataclass(frozen=True)
class Lamp(Scope):
    """Rank the items of all layers together, by layer-adaptive scores (Lee et al., *Layer-adaptive Sparsity for the
    Magnitude-based Pruning*, ICLR 2021).

    With the scores of a layer in rising order, the one at place u counts ``s[u]**2 / sum(s[v]**2 for v >= u)``;
    equal scores stand in the order of their index. With ``magnitude`` this is the published method; the best
    item of a layer counts 1, so no layer is emptied before the others are down to one. What is below zero by no
    more than the smallest normal number, as a pruner scores what it has cut before, ranks below all else.

    >>> Lamp().comparable([torch.tensor([1.0, 2.0, 2.0])])[0].tolist()
    [0.1111111111111111, 0.5, 1.0]
    """

    def competitors(self, count: int) -> list[list[int]]:
        """All layers together."""
        return [list(range(count))]

    def comparable(self, scores: list[Tensor]) -> list[Tensor]:
        """The scores of each layer, over the sum of its greater ones.

        Raises:
            SecateurError: a score is negative, so that its square would not say its rank.
        """
        if low := [float(s.min()) for s in scores if s.numel() and float(s.min()) < -torch.finfo(s.dtype).tiny]:
            raise SecateurError(f"scope 'lamp' squares the scores and needs them to be 0 or more, got {min(low):.3g}: "
                                "take a criterion without negative scores, such as magnitude, or scope 'global'")
        return [adaptive_scores(s) for s in scores]


def adaptive_scores(scores: Tensor) -> Tensor:
    """The LAMP scores of one layer, in its shape, float64; what is below zero stays so."""
    squares = scores.detach().double().flatten()
    squares = squares * squares.abs()  # keeps the sign, and so the rank, of what is below zero
    order = torch.sort(squares, stable=True).indices
    risen = squares[order]
    above = risen.flip(0).cumsum(0).flip(0)
    found = torch.empty_like(squares)
    found[order] = torch.where(above > 0, risen / above, 0)
    return found.view(scores.shape)
