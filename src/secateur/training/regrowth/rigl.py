"""RigL: pruned weights with the largest gradients are restored."""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.training.regrowth.base import Regrowth


class Rigl(Regrowth):
    """Evci et al., *Rigging the Lottery: Making All Tickets Winners*, ICML 2020: removes the smallest weights and
    restores those with the largest gradients. On a rising schedule this is GraNet (Liu et al., NeurIPS 2021).

    >>> Rigl().score(torch.zeros(2), torch.tensor([-3.0, 1.0]), torch.Generator()).tolist()
    [3.0, 1.0]
    """

    gradients = True

    def score(self, weight: Tensor, gradient: Tensor | None, generator: torch.Generator) -> Tensor:
        """The size of the gradient."""
        assert gradient is not None
        return gradient.abs()
