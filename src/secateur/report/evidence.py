"""Numbers from the anatomies that bear on the hypothesis: many weights lie near zero, neuron norms do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from secateur.report.statistics import Interval, sign_test, t_interval

NEAR = {"mean": 0.25, "max": 0.1}
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
    def pairs(self) -> int:
        """How many pairs differ."""
        return self.positive + self.negative

    @property
    def direction(self) -> int:
        """1 or -1 where the interval lies on one side of 0, or, for one pair, its sign; otherwise 0."""
        d = self.difference
        if math.isinf(d.high):
            return (d.mean > 0) - (d.mean < 0)
        return (d.low > 0) - (d.high < 0)


def paired(weight: Sequence[float], neuron: Sequence[float]) -> Paired:
    """Pair two equally long lists of numbers.

    >>> p = paired([0.2, 0.3], [0.0, 0.0])
    >>> p.weight, p.positive, p.negative, p.p
    (0.25, 2, 0, 0.5)
    """
    differences = [a - b for a, b in zip(weight, neuron, strict=True)]
    positive, negative = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    n = len(differences)
    return Paired(math.fsum(weight) / n, math.fsum(neuron) / n, t_interval(differences, "layers and seeds"),
                  positive, negative, sign_test(positive, negative))


def layers(anatomies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every layer of every seed."""
    return [layer for a in anatomies for layer in a["layers"]]


def near_zero(anatomies: Sequence[dict[str, Any]], scale: str) -> Paired:
    """Share of |w| and of neuron norms under :data:`NEAR` times the layer's mean or maximum."""
    at = [a["thresholds"].index(NEAR[scale]) for a in anatomies for _ in a["layers"]]
    found = list(zip(layers(anatomies), at, strict=True))
    return paired([layer["weight"][f"by_{scale}"]["below"][i] for layer, i in found],
                  [layer["neuron"][f"by_{scale}"]["below"][i] for layer, i in found])


def variation(anatomies: Sequence[dict[str, Any]]) -> Paired:
    """Coefficients of variation of |w| and of neuron norms."""
    return paired([x["weight"]["cv"] for x in layers(anatomies)], [x["neuron"]["cv"] for x in layers(anatomies)])


def fallen(anatomies: Sequence[dict[str, Any]], sparsity: float) -> Paired | None:
    """Shares of the large weights that go with the neurons at a sparsity: if spread evenly, and in truth.

    The first of the pair (``weight``) is the even spread, the second (``neuron``) what goes in truth: a
    positive difference says that large weights gather in the neurons that stay. None if not recorded.
    """
    known = [(x, a["sparsities"].index(sparsity)) for a in anatomies if sparsity in a["sparsities"]
             for x in a["layers"]]
    return paired([x["even"][i] for x, i in known], [x["fallen"][i] for x, i in known]) if known else None


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
