"""ERK: small layers get a lower sparsity, by the Erdős-Rényi-Kernel rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from secateur.pruning.granularity.base import Layer
from secateur.pruning.scopes.base import Allocation, ScopeContext, divide_by_density
from secateur.pruning.trial import Bounds


@dataclass(frozen=True)
class Erk(Allocation):
    """Give each layer a density in proportion to the sum of its sides over the product of its sides.

    Density ``min(1, e * (n_out + n_in + k_w + k_h) / (n_out * n_in * k_w * k_h))``, with the one ``e`` at which
    the network as a whole has the sparsity that was asked for (Evci et al., *Rigging the Lottery*, ICML 2020,
    after Mocanu et al. 2018). Counts are whole and sum to ``round(sparsity * items)`` exactly.
    """

    scores = frozenset({"weight"})

    def removals(self, layers: Sequence[Layer], sparsity: float, bounds: Bounds, context: ScopeContext) -> list[int]:
        """How many items of every layer go."""
        rates = [_raw_density(layer) for layer in layers]
        return divide_by_density(layers, sparsity, bounds, 0.0, 1 / min(rates), lambda e: [e * rate for rate in rates])


def _raw_density(layer: Layer) -> float:
    """The sum of the sides of a weight over their product.

    >>> from secateur.core.types import Target
    >>> import torch
    >>> _raw_density(Layer("a", torch.zeros(6, 4), target=Target("a", "", (6, 4), ("out", "in"), "linear")))
    0.4166666666666667
    """
    assert layer.target is not None
    return sum(layer.target.shape) / math.prod(layer.target.shape)
