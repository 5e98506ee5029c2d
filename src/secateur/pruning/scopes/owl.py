"""OWL: layers with more outliers get a lower sparsity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from torch import Tensor

from secateur.core.bounds import above, between, check_settings
from secateur.pruning.granularity.base import Layer
from secateur.pruning.scopes.base import Allocation, ScopeContext, divide_by_density
from secateur.pruning.signals import SignalCollector
from secateur.pruning.signals.base import have
from secateur.pruning.trial import Bounds


@dataclass(frozen=True)
class Owl(Allocation):
    """Give layers with more outliers a higher density (Yin et al., *Outlier Weighed Layerwise Sparsity*, ICML 2024).

    An outlier is a weight whose |w| times the norm of its input is more than ``times`` the layer's mean. The
    shares are scaled to a width of twice ``reach`` and moved so that the network as a whole has the sparsity
    asked for (layers count by their items, where the paper's are all of one size); a density stays in [0, 1].
    """

    scores = frozenset({"weight"})
    needs = frozenset({"samples"})

    times: float = 5.0
    reach: float = 0.08

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings("owl", vars(self), times=above(0), reach=between(0, 1))

    def removals(self, layers: Sequence[Layer], sparsity: float, bounds: Bounds, context: ScopeContext) -> list[int]:
        """How many items of every layer go."""
        # Measured once and only where something goes: it takes a pass over the samples.
        apart = cache(lambda: _spread(self.outliers(layers, context), self.reach))
        return divide_by_density(layers, sparsity, bounds, -1.0, 1.0, lambda shift: [a + shift for a in apart()])

    def outliers(self, layers: Sequence[Layer], context: ScopeContext) -> list[float]:
        """The share of outliers in every layer."""
        gather = SignalCollector(context.model, {"input_norm"}, [layer.name for layer in layers], context.samples)
        return [_outlier_share(context.model.get_parameter(layer.name).detach(),
                              have(gather.of("weight", layer.name).input_norm), self.times) for layer in layers]


def _outlier_share(weight: Tensor, norm: Tensor, times: float) -> float:
    """How many of the products |w| x input norm are above ``times`` their mean, as a fraction.

    >>> import torch
    >>> _outlier_share(torch.tensor([[1.0, -1.0], [1.0, 9.0]]), torch.ones(1, 2), 2.0)
    0.25
    """
    products = weight.abs() * norm
    return float((products > times * products.mean()).double().mean())


def _spread(shares: Sequence[float], reach: float) -> list[float]:
    """The shares moved and scaled to lie from 0 to twice ``reach``; all 0 where they are equal.

    >>> _spread([0.1, 0.3, 0.2], 0.08)
    [0.0, 0.16, 0.08]
    """
    low, high = min(shares), max(shares)
    return [2 * reach * (s - low) / (high - low) if high > low else 0.0 for s in shares]
