"""Why weights and neurons differ: what the numbers of this run support, in words that can come out either way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from secateur.core import text
from secateur.report.conclusions import answers
from secateur.report.evidence import NEAR, Paired, fallen, near_zero, variation, verdict
from secateur.report.results import Cell, Digest

VERDICTS = {
    "supported": "The numbers of this run support the hypothesis: many weights lie near zero, hardly any neuron does.",
    "partly": "The numbers of this run support the hypothesis in part: a larger share of the weights than of the "
              "neurons lies near zero, but not many weights do, or not few neurons, in both scalings.",
    "contradicted": "The numbers of this run contradict the hypothesis: neurons lie near zero more often than weights.",
    "open": "The numbers of this run leave the hypothesis open: the difference is not clear in both scalings.",
}
NONE = "No anatomy was recorded with this run, so the hypothesis was not tested."


def paragraphs(digest: Digest) -> list[str]:
    """The text, a paragraph an item; the first is the verdict."""
    anatomies = [a for a in digest.run.anatomy if a.get("layers")]
    if not anatomies:
        return [NONE]
    by_mean, by_max = near_zero(anatomies, "mean"), near_zero(anatomies, "max")
    texts = [VERDICTS[verdict(by_mean, by_max)],
             f"{shares(by_mean, 'mean')} {shares(by_max, 'max')} {caution(by_mean)}",
             spread_words(variation(anatomies)), large_words(digest), agreement(digest), equal_size(digest)]
    return [t for t in texts if t]


def shares(p: Paired, scale: str) -> str:
    """The near-zero shares under one scaling."""
    under = f"{text.percent(NEAR[scale], 0)} of their layer's {'mean' if scale == 'mean' else 'maximum'}"
    return (f"Under {under} lie {text.percent(p.weight)} of the weights and {text.percent(p.neuron)} of the neuron "
            f"norms (difference {points_with_interval(p)}; positive in {p.positive} and negative in {p.negative} "
            f"pairs of layer and seed, sign test p = {p.p:.2g}).")


def points_with_interval(p: Paired) -> str:
    """A difference in points with its interval."""
    d = p.difference
    span = "" if math.isinf(d.high) else f", 95% interval {text.points(d.low)} to {text.points(d.high)}"
    return f"{text.points(d.mean)} points{span}"


def caution(p: Paired) -> str:
    """What the pairs are not."""
    return ("With one pair there is no interval." if math.isinf(p.difference.high) else
            "Layers of one network are not independent of each other, so the interval is a guide rather than a proof.")


def spread_words(p: Paired) -> str:
    """The coefficients of variation in words."""
    clear = {1: "weights differ among themselves more than neurons do", 0: "neither differs clearly more",
             -1: "neurons differ among themselves more than weights do"}[p.direction]
    return (f"Standard deviation over mean is {p.weight:.2f} for |w| and {p.neuron:.2f} for neuron norms: {clear}. "
            "A ranking by norm separates items only as far as their norms differ.")


def large_words(digest: Digest) -> str:
    """What goes with the neurons: the large weights."""
    cell = comparison_cell(digest)
    found = fallen(digest.run.anatomy, cell.sparsity) if cell else None
    if cell is None or found is None:
        return ""
    large = digest.run.anatomy[0]["large"]
    reading = {1: "the weak neurons hold fewer large weights than their share, yet these are lost with them",
               0: "large weights are spread over weak and strong neurons about evenly",
               -1: "the weak neurons hold more large weights than their share"}[found.direction]
    kept = max(0.0, (cell.sparsity - (1 - large)) / large)
    return (f"Of the large weights (the top {text.percent(large)} of each layer by |w|), "
            f"{text.percent(found.neuron)} lie in the {text.percent(cell.sparsity)} weakest neurons and go with "
            "them; spread evenly it would be "
            f"{text.percent(found.weight)} (difference {points_with_interval(found)}): {reading}. Cutting "
            f"{text.percent(cell.sparsity)} of the weights one by one removes {text.percent(kept)} of them.")


def comparison_cell(digest: Digest) -> Cell | None:
    """The neurons' cell to look at: the first that is too much, or else the largest of the grid."""
    for a in answers(digest):
        if a.method.granularity == "neuron":
            curve = next(c for c in digest.curves if c.method == a.method)
            return a.refused or curve.cells[-1]
    return None


def both_cells(digest: Digest) -> tuple[Sequence[Cell], Sequence[Cell]] | None:
    """The cells of the best weight and the best neuron method, where there are both."""
    best = {a.method.granularity: a.method for a in answers(digest)}
    if not {"weight", "neuron"} <= set(best):
        return None
    found = {c.method: c.cells for c in digest.curves}
    return found[best["weight"]], found[best["neuron"]]


def agreement(digest: Digest) -> str:
    """Whether the curves go with the verdict, at the sparsity where the methods differ most."""
    if not (both := both_cells(digest)):
        return ""
    neuron = {c.sparsity: c for c in both[1]}
    common = [(w, neuron[w.sparsity]) for w in both[0] if w.sparsity in neuron and w.sparsity > 0]
    if not common:
        return ""
    w, n = max(common, key=lambda pair: abs(pair[0].accuracy.mean - pair[1].accuracy.mean))
    better = sum(a.accuracy.mean > b.accuracy.mean for a, b in common)
    return (f"At the same fraction cut, single weights keep more accuracy than neurons at {better} of {len(common)} "
            f"sparsities; they differ most at {text.percent(w.sparsity)}, where {text.percent(w.accuracy.mean)} "
            f"remain after cutting weights and {text.percent(n.accuracy.mean)} after cutting neurons.")


def equal_size(digest: Digest) -> str:
    """The fairer comparison: at the same number of parameters left."""
    if not (both := both_cells(digest)):
        return ""
    compared = [(n, at) for n in both[1] if n.sparsity > 0 and (at := interpolated(both[0], n.nonzeros)) is not None]
    if not compared:
        return ""
    better = sum(at > n.accuracy.mean for n, at in compared)
    n, at = max(compared, key=lambda pair: abs(pair[0].accuracy.mean - pair[1]))
    return ("A neuron takes its inputs and outputs with it, so the same fraction cut is not the same size. With "
            f"equally many parameters left (weights' accuracy interpolated), single weights keep more at {better} of "
            f"{len(compared)} sizes; the largest difference is at {text.count(n.nonzeros)} parameters: "
            f"{text.percent(at)} after cutting weights, {text.percent(n.accuracy.mean)} after cutting neurons.")


def interpolated(cells: Sequence[Cell], nonzeros: float) -> float | None:
    """Accuracy at a number of parameters left, linear between the cells around it; None outside the grid."""
    ordered = sorted(cells, key=lambda c: c.nonzeros)
    for a, b in pairwise(ordered):
        if a.nonzeros <= nonzeros <= b.nonzeros and b.nonzeros > a.nonzeros:
            part = (nonzeros - a.nonzeros) / (b.nonzeros - a.nonzeros)
            return a.accuracy.mean + part * (b.accuracy.mean - a.accuracy.mean)
    return None
