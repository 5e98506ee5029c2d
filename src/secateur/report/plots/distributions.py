"""The plots behind *why*: distributions of weights and of neuron norms, and how many of the large weights go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from statistics import fmean
from typing import Any

from secateur.core import text as words
from secateur.report.plots.base import KEPT, Axis, Board, Control, Plot, Series
from secateur.report.results import Results

SCALES = {"mean": "mean", "max": "maximum"}
_KINDS = {"weight": "|w| of single weights", "neuron": "L2 norms of neurons"}


def by_layer(results: Results) -> dict[str, list[dict[str, Any]]]:
    """Layer name → its statistics of every seed."""
    layers: dict[str, list[dict[str, Any]]] = {}
    for statistics in results.run.weight_statistics:
        for layer in statistics["layers"]:
            layers.setdefault(layer["name"], []).append(layer)
    return layers


def board(results: Results) -> Board:
    """Histograms under a choice of layer and of scale, and the large weights of the same layer."""
    names = list(by_layer(results))
    controls = (Control("scale", "scaled by", tuple((s, f"the layer's {label}") for s, label in SCALES.items())),
                Control("layer", "layer", tuple((str(i), name) for i, name in enumerate(names))))
    histograms = {f"{s}|{i}": histogram(results, name, s) for s in SCALES for i, name in enumerate(names)}
    losses = {f"{s}|{i}": large_weights(results, name) for s in SCALES for i, name in enumerate(names)}
    return Board("why", controls, (histograms, losses), "Means over the seeds. Left: every bin's share of the layer's "
                 "weights or neurons. Right: how many of the layer's large weights are removed with its weakest "
                 "neurons.")


def mean_by_place(records: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """The mean of equally long lists, entry by entry."""
    return tuple(map(fmean, zip(*records, strict=True)))


def histogram(results: Results, name: str, scale: str = "mean") -> Plot:
    """The distributions of one layer's |w| and neuron norms, each measured in its own mean or maximum."""
    records = by_layer(results)[name]
    series, span = [], records[0]["weight"][f"by_{scale}"]["last_edge"]
    for kind, label in _KINDS.items():
        shares = mean_by_place([r[kind][f"by_{scale}"]["shares"] for r in records])
        edges = tuple(span * i / len(shares) for i in range(len(shares) + 1))
        text = tuple(f"{label}\n{words.percent(y, 2)} between {a:.3g} and {b:.3g} × {SCALES[scale]}"
                     for (a, b), y in zip(pairwise(edges), shares, strict=True))
        series.append(Series(label, kind, edges, (*shares, shares[-1]), symbol="", shape="area",
                             text=(*text, text[-1]), at=(0.0, *accumulate(shares)), group=kind))
    return Plot(f"{name}: where its values lie", Axis(f"value ÷ the layer's {SCALES[scale]}", low=0, high=span),
                Axis("share of values per bin", percent=True, low=0), tuple(series))


def large_weights(results: Results, name: str) -> Plot:
    """The share of the layer's large weights that is lost with its weakest neurons, against the fraction kept."""
    statistics, records = results.run.weight_statistics[0], by_layer(results)[name]
    x, large = tuple(statistics["sparsities"]), statistics["large"]
    losses = list(zip(*(r["fallen"] for r in records), strict=True))
    single = tuple(max(0.0, (s - (1 - large)) / large) for s in x)
    lines = (replace(_line("removed with the weakest neurons", "neuron", x, tuple(map(fmean, losses))), symbol="square",
                     low=tuple(map(min, losses)), high=tuple(map(max, losses))),
             replace(_line("removed if spread evenly", "soft", x, mean_by_place([r["even"] for r in records])),
                     dash="dash", symbol=""),
             _line("removed with the smallest weights", "weight", x, single))
    return Plot(f"{name}: large weights removed", KEPT,
                Axis(f"share of the top {words.percent(large)} by |w|", percent=True, low=0, high=1), lines)


def _line(label: str, role: str, x: tuple[float, ...], y: tuple[float, ...]) -> Series:
    """A line with a tooltip at each point."""
    text = tuple(f"{words.percent(1 - a)} kept: {words.percent(b)} of the large weights\n{label}"
                 for a, b in zip(x, y, strict=True))
    return Series(label, role, tuple(1 - a for a in x), y, text=text, at=x)
