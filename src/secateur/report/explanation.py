"""Why weights and neurons differ: what the numbers of this run support, in words that can come out either way."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from secateur.core import text
from secateur.report.conclusions import answers
from secateur.report.evidence import NEAR, Paired, large_weight_loss, near_zero, variation, verdict
from secateur.report.results import Cell, Results

VERDICTS = {
    "supported": "The numbers of this run support the hypothesis: many weights lie near zero, hardly any neuron does.",
    "partly": "The numbers of this run support the hypothesis in part: a larger share of the weights than of the "
              "neurons lies near zero, but not many weights do, or not few neurons, in both scalings.",
    "contradicted": "The numbers of this run contradict the hypothesis: neurons lie near zero more often than weights.",
    "open": "The numbers of this run leave the hypothesis open: the difference is not clear in both scalings.",
}
NONE = "No statistics of the weights were recorded with this run, so the hypothesis was not tested."


def paragraphs(results: Results) -> list[str]:
    """The text, a paragraph an item; the first is the verdict."""
    statistics = [s for s in results.run.weight_statistics if s.get("layers")]
    if not statistics:
        return [NONE]
    by_mean, by_max = near_zero(statistics, "mean"), near_zero(statistics, "max")
    caution = ("With one pair there is no interval." if math.isinf(by_mean.difference.high) else
               "Layers of one network are not independent of each other, so the interval is a guide rather than a "
               "proof.")
    best = {a.method.granularity: a for a in reversed(answers(results))}  # of each the one of the most bits stays
    texts = [VERDICTS[verdict(by_mean, by_max)],
             f"{_share_words(by_mean, 'mean')} {_share_words(by_max, 'maximum')} {caution}",
             _variation_words(variation(statistics)), large_weight_words(results)]
    if {"weight", "neuron"} <= best.keys():
        weights, neurons = best["weight"].cells, best["neuron"].cells
        texts += [_same_sparsity_words(weights, neurons), _same_size_words(weights, neurons)]
    return [t for t in texts if t]


def _share_words(p: Paired, scale: str) -> str:
    """The near-zero shares under one scaling."""
    near = NEAR["mean" if scale == "mean" else "max"]
    return (f"{text.percent(p.weight)} of the weights and {text.percent(p.neuron)} of the neuron norms are below "
            f"{text.percent(near, 0)} of their layer's {scale} (difference {points_with_interval(p)}; positive in "
            f"{p.positive} and negative in {p.negative} pairs of layer and seed, sign test p = {p.p:.2g}).")


def points_with_interval(p: Paired) -> str:
    """A difference in points with its interval."""
    d = p.difference
    span = "" if math.isinf(d.high) else f", 95% interval {text.points(d.low)} to {text.points(d.high)}"
    return f"{text.points(d.mean)} points{span}"


def _variation_words(p: Paired) -> str:
    """The coefficients of variation in words."""
    clear = {1: "weights vary more than neurons", 0: "neither varies clearly more",
             -1: "neurons vary more than weights"}[p.direction]
    return (f"Standard deviation over mean is {p.weight:.2f} for |w| and {p.neuron:.2f} for neuron norms: {clear}. "
            "A ranking by norm separates items only as far as their norms differ.")


def large_weight_words(results: Results) -> str:
    """How many large weights are lost with the neurons: at their first sparsity that is too much, or the largest."""
    neurons = next((a for a in answers(results) if a.method.granularity == "neuron"), None)
    if neurons is None:
        return ""
    cell = neurons.too_much or neurons.cells[-1]
    if (loss := large_weight_loss(results.run.weight_statistics, cell.sparsity)) is None:
        return ""
    large, cut = results.run.weight_statistics[0]["large"], text.percent(cell.sparsity)
    reading = {1: "weak neurons hold fewer large weights than an even spread would give them, but these are removed "
                  "with them",
               0: "large weights are spread over weak and strong neurons about evenly",
               -1: "weak neurons hold more large weights than an even spread would give them"}[loss.direction]
    # The smallest weights go first, so none of the large ones until only they are left.
    share = max(0.0, (cell.sparsity - (1 - large)) / large)
    return (f"Of the large weights (the top {text.percent(large)} of each layer by |w|), {text.percent(loss.neuron)} "
            f"are in the {cut} weakest neurons and are removed with them; if they were spread evenly, it would be "
            f"{text.percent(loss.weight)} (difference {points_with_interval(loss)}): {reading}. Cutting {cut} of the "
            f"weights one by one removes {text.percent(share)} of them.")


def _same_sparsity_words(weights: Sequence[Cell], neurons: Sequence[Cell]) -> str:
    """Weights against neurons at the same sparsities, and where they differ most."""
    by_sparsity = {c.sparsity: c for c in neurons}
    common = [(w, by_sparsity[w.sparsity]) for w in weights if w.sparsity in by_sparsity and w.sparsity > 0]
    if not common:
        return ""
    w, n = max(common, key=lambda pair: abs(pair[0].accuracy.mean - pair[1].accuracy.mean))
    # Differences within the intervals are noise, and not counted; without intervals, none is.
    better = sum(a.cost.high < b.cost.low for a, b in common)
    return (f"At the same fraction cut, single weights keep more accuracy than neurons at {better} of {len(common)} "
            f"sparsities, by more than their 95% intervals; they differ most at {text.percent(w.sparsity)}, where "
            f"{text.percent(w.accuracy.mean)} remain after cutting weights and {text.percent(n.accuracy.mean)} after "
            "cutting neurons.")


def _same_size_words(weights: Sequence[Cell], neurons: Sequence[Cell]) -> str:
    """Weights against neurons with the same number of parameters left, which is the fairer comparison."""
    pairs = [(n, at) for n in neurons if n.sparsity > 0 and (at := interpolate(weights, n.nonzeros)) is not None]
    if not pairs:
        return ""
    better = sum(at > n.accuracy.mean for n, at in pairs)
    n, at = max(pairs, key=lambda pair: abs(pair[0].accuracy.mean - pair[1]))
    return ("Removing a neuron also removes its incoming and outgoing weights, so equal fractions do not give equal "
            "sizes. With "
            f"equally many parameters left (weights' accuracy interpolated), single weights keep more accuracy at "
            f"{better} of "
            f"{len(pairs)} sizes; the largest difference is at {text.count(n.nonzeros)} parameters: "
            f"{text.percent(at)} after cutting weights, {text.percent(n.accuracy.mean)} after cutting neurons.")


def interpolate(cells: Sequence[Cell], nonzeros: float) -> float | None:
    """Accuracy at a number of parameters left, linear between the cells around it; None outside the grid."""
    sizes, accuracies = zip(*sorted((c.nonzeros, c.accuracy.mean) for c in cells), strict=True)
    return float(np.interp(nonzeros, sizes, accuracies)) if sizes[0] <= nonzeros <= sizes[-1] else None
