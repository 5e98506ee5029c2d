"""The contract of a regrowth: at every update some living weights go and as many others come back, from zero."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from secateur.core.bounds import between, check_settings
from secateur.core.items import Item


class Regrowth(Item):
    """Exchanges a share of the living weights at every update.

    ``share`` is the fraction exchanged at the first update; it falls to 0 at the end of the schedule along half
    a wave of the cosine, as in Evci et al. ``gradients`` says whether the gradients of all weights are needed,
    those of the cut ones among them.

    Raises:
        SecateurError: a share outside [0, 1].
    """

    gradients: ClassVar[bool]

    def __init__(self, share: float = 0.3):
        check_settings("", {"share": share}, share=between(0, 1))
        self.share = float(share)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.share:g})"

    @abstractmethod
    def score(self, weight: Tensor, gradient: Tensor | None, generator: torch.Generator) -> Tensor:
        """What each weight would be worth if it came back, in the shape of ``weight``; the highest come back."""

    def count(self, living: int, progress: float) -> int:
        """How many weights are exchanged at a progress in [0, 1] of the schedule."""
        return round(self.share * (1 + math.cos(math.pi * progress)) / 2 * living)


CONTRACT = Regrowth


def exchange(weight: Tensor, keep: Tensor, worth: Tensor, count: int) -> Tensor:
    """The mask after an exchange: removes the ``count`` smallest living weights, restores the ``count`` best others.

    Args:
        weight: ``(...)``; the size of a weight says which living ones go.
        keep: bool, the same shape: the living weights.
        worth: the same shape: what each weight would be worth if it came back.
        count: how many; at most as many as live, and as are cut before the exchange.

    A weight that has just gone does not come back in the same exchange.

    >>> w, keep = torch.tensor([3.0, 0.1, 0, 0]), torch.tensor([True, True, False, False])
    >>> exchange(w, keep, torch.tensor([9.0, 9, 1, 2]), 1).tolist()
    [True, False, False, True]
    """
    cut = ~keep
    count = min(count, int(keep.sum()), int(cut.sum()))
    if not count:
        return keep
    goes = weight.abs().masked_fill(cut, torch.inf).flatten().topk(count, largest=False).indices
    comes = worth.masked_fill(keep, -torch.inf).flatten().topk(count).indices
    return keep.flatten().index_fill(0, goes, False).index_fill(0, comes, True).view_as(keep)
