"""SET: pruned weights are restored at random."""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.training.regrowth.base import Regrowth


class Set(Regrowth):
    """Sparse evolutionary training (Mocanu et al., *Scalable training of artificial neural networks with adaptive
    sparse connectivity*, Nature Communications 2018): removes the smallest weights and restores random others.

    >>> Set(0.5).count(100, 0.0), Set(0.5).count(100, 1.0)
    (50, 0)
    """

    gradients = False

    def score(self, weight: Tensor, gradient: Tensor | None, generator: torch.Generator) -> Tensor:
        """Uniform random numbers."""
        return torch.rand(weight.shape, generator=generator).to(weight.device)
