"""Numbers from the weight statistics that bear on the hypothesis: many weights lie near zero, neuron norms do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from secateur.report.statistics import Interval, sign_test, t_interval

# Below which multiple of its layer's mean or maximum a value counts as near zero.
NEAR = {"mean": 0.25, "max": 0.1}
# Which share of values near zero counts as many of the weights, which as hardly any of the neurons.
MANY, FEW = 0.10, 0.02


@dataclass(frozen=True)
class Paired:
    """Weights against neurons over every pair of (layer, seed).

    ``weight`` and ``neuron`` are means over the pairs, ``difference`` is weight less neuron with Student's
    95 % interval over the pairs (infinite for a single pair), ``positive`` and ``negative`` count its signs,
    ``p`` is the sign test's.
    """

    weight: float
    neuron: float
    difference: Interval
    positive: int
    negative: int
    p: float

    @property
    def direction(self) -> int:
        """1 or -1 where the interval lies on one side of 0, or, for one pair, its sign; otherwise 0."""
        d = self.difference
        low, high = (d.mean, d.mean) if math.isinf(d.high) else (d.low, d.high)
        return (low > 0) - (high < 0)


def pair(weight: Sequence[float], neuron: Sequence[float], most: float = math.inf) -> Paired:
    """Pair two equally long lists of numbers; ``most`` is the greatest difference that there can be.

    >>> p = pair([0.2, 0.3], [0.0, 0.0])
    >>> p.weight, p.positive, p.negative, p.p
    (0.25, 2, 0, 0.5)
    """
    differences = [a - b for a, b in zip(weight, neuron, strict=True)]
    positive, negative = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    return Paired(fmean(weight), fmean(neuron), t_interval(differences, "layers and seeds", most), positive, negative,
                  sign_test(positive, negative))


def near_zero(statistics: Sequence[dict[str, Any]], scale: str) -> Paired:
    """Share of |w| and of neuron norms under :data:`NEAR` times the layer's mean or maximum."""
    def shares(kind: str) -> list[float]:
        return [layer[kind][f"by_{scale}"]["below"][s["thresholds"].index(NEAR[scale])]
                for s in statistics for layer in s["layers"]]

    return pair(shares("weight"), shares("neuron"), most=1.0)


def variation(statistics: Sequence[dict[str, Any]]) -> Paired:
    """Coefficients of variation of |w| and of neuron norms."""
    layers = [layer for s in statistics for layer in s["layers"]]
    return pair([x["weight"]["cv"] for x in layers], [x["neuron"]["cv"] for x in layers])


def large_weight_loss(statistics: Sequence[dict[str, Any]], sparsity: float) -> Paired | None:
    """Shares of the large weights that go with the neurons at a sparsity: if spread evenly, and in truth.

    The first of the pair (``weight``) is the even spread, the second (``neuron``) what goes in truth: a
    positive difference says that large weights gather in the neurons that stay. None if not recorded.
    """
    layers = [(x, s["sparsities"].index(sparsity)) for s in statistics if sparsity in s["sparsities"]
              for x in s["layers"]]
    return pair([x["even"][i] for x, i in layers], [x["fallen"][i] for x, i in layers], 1.0) if layers else None


def verdict(by_mean: Paired, by_max: Paired) -> str:
    """What the near-zero shares say: ``supported``, ``partly``, ``contradicted`` or ``open``.

    ``supported`` needs, in both scalings, a difference above 0, at least :data:`MANY` of the weights
    near zero and at most :data:`FEW` of the neurons; ``partly`` a difference above 0 in both;
    ``contradicted`` one below 0 in both; anything else leaves the question ``open``.
    """
    both = (by_mean, by_max)
    if all(p.direction > 0 for p in both):
        clear = all(p.weight >= MANY and p.neuron <= FEW for p in both)
        return "supported" if clear else "partly"
    return "contradicted" if all(p.direction < 0 for p in both) else "open"
