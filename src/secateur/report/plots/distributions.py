"""The plots behind *why*: distributions of weights and of neuron norms, and the fate of the large weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from secateur.core import text as words
from secateur.report.plots.base import Axis, Board, Control, Plot, Series
from secateur.report.plots.curves import CUT
from secateur.report.results import Digest

SCALES = {"mean": "mean", "max": "maximum"}
KINDS = {"weight": "|w| of single weights", "neuron": "L2 norms of neurons"}


def by_layer(digest: Digest) -> dict[str, list[dict[str, Any]]]:
    """Layer name → its record of every seed."""
    found: dict[str, list[dict[str, Any]]] = {}
    for a in digest.run.anatomy:
        for layer in a["layers"]:
            found.setdefault(layer["name"], []).append(layer)
    return found


def board(digest: Digest) -> Board:
    """Histograms under a choice of layer and of scale, and the fate of the large weights of the same layer."""
    names = list(by_layer(digest))
    controls = (Control("scale", "scaled by", tuple((s, f"the layer's {label}") for s, label in SCALES.items())),
                Control("layer", "layer", tuple((str(i), name) for i, name in enumerate(names))))
    histograms = {f"{s}|{i}": histogram(digest, name, s) for s in SCALES for i, name in enumerate(names)}
    fates = {f"{s}|{i}": fate(digest, name) for s in SCALES for i, name in enumerate(names)}
    return Board("why", controls, (histograms, fates), "Means over the seeds. Left: every bin's share of the layer's "
                 "weights or neurons. Right: how many of the layer's large weights go with its weakest neurons.")


def mean_of(records: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """The mean of equally long lists, entry by entry."""
    return tuple(sum(column) / len(column) for column in zip(*records, strict=True))


def histogram(digest: Digest, name: str, scale: str = "mean") -> Plot:
    """The distributions of one layer's |w| and neuron norms, each measured in its own mean or maximum."""
    records = by_layer(digest)[name]
    series, span = [], records[0]["weight"][f"by_{scale}"]["last_edge"]
    for kind, label in KINDS.items():
        shares = mean_of([r[kind][f"by_{scale}"]["shares"] for r in records])
        edges = tuple(span * i / len(shares) for i in range(len(shares) + 1))
        text = tuple(f"{label}\n{words.percent(y, 2)} between {a:.3g} and {b:.3g} × {SCALES[scale]}"
                     for (a, b), y in zip(pairwise(edges), shares, strict=True))
        series.append(Series(label, kind, edges, (*shares, shares[-1]), dash="solid", symbol="", shape="area",
                             text=(*text, text[-1])))
    return Plot(f"distribution-{scale}-{slug(name)}", f"{name}: where its values lie",
                Axis(f"value ÷ the layer's {SCALES[scale]}", low=0, high=span),
                Axis("share of values per bin", percent=True, low=0), tuple(series))


def fate(digest: Digest, name: str) -> Plot:
    """The share of the layer's large weights that goes with the neurons of lowest norm."""
    anatomy, records = digest.run.anatomy[0], by_layer(digest)[name]
    x, large = tuple(anatomy["sparsities"]), anatomy["large"]
    found, even = mean_of([r["fallen"] for r in records]), mean_of([r["even"] for r in records])
    single = tuple(max(0.0, (s - (1 - large)) / large) for s in x)
    spread = [sorted(column) for column in zip(*(r["fallen"] for r in records), strict=True)]
    lines = (Series("gone with the weakest neurons", "neuron", x, found, tuple(c[0] for c in spread),
                    tuple(c[-1] for c in spread), symbol="square",
                    text=told("gone with the weakest neurons", x, found)),
             Series("gone if spread evenly", "soft", x, even, dash="dash", symbol="",
                    text=told("gone if spread evenly", x, even)),
             Series("gone with the smallest weights", "weight", x, single, symbol="circle",
                    text=told("gone with the smallest weights", x, single)))
    return Plot(f"large-weights-{slug(name)}", f"{name}: large weights that go", CUT,
                Axis(f"share of the top {words.percent(large)} by |w|", percent=True, low=0, high=1), lines)


def told(label: str, x: Sequence[float], y: Sequence[float]) -> tuple[str, ...]:
    """The tooltips of a line."""
    return tuple(f"{words.percent(a)} cut: {words.percent(b)} of the large weights\n{label}"
                 for a, b in zip(x, y, strict=True))


def slug(name: str) -> str:
    """A name fit for a file."""
    return "".join(c if c.isalnum() else "-" for c in name).strip("-") or "layer"
