"""The sensitivity scan: how far the outputs move when each layer is cut by itself."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from secateur.core import text
from secateur.report.plots.base import Axis, Board, Control, Plot, Series, Table
from secateur.report.results import Digest
from secateur.report.statistics import Spread, spread

FRACTION = Axis("fraction of the layer cut", percent=True, low=0, high=1)
METRICS = {"loss": Axis("divergence of the outputs (nats)", log=True),
           "same": Axis("samples whose answer stays", percent=True)}
ROLES = ("weight", "neuron", "other", "weight-2", "neuron-2", "other-2", "weight-3", "neuron-3", "other-3")
SYMBOLS, DASHES = ("circle", "square", "diamond", "triangle"), ("solid", "dash", "dot")
MOST = 18
FLOOR = 1e-6
NEAR = 0.25
SHOWN = (0.5, 0.8, 0.9, 0.95, 0.99)
Method = tuple[str, str]
Layer = dict[str, Any]


def methods(digest: Digest) -> dict[Method, list[list[Layer]]]:
    """Granularity and criterion to the layers of every seed's scan; none where nothing was scanned."""
    found: dict[Method, list[list[Layer]]] = defaultdict(list)
    for scan in digest.run.scans:
        found[scan["granularity"], scan["criterion"]].append(scan["layers"])
    return dict(found)


def board(digest: Digest) -> Board:
    """Divergence and agreement against what is cut of one layer, under a choice of method."""
    found = methods(digest)
    options = tuple((key(m), f"{text.noun(m[0])}, {m[1]}") for m in found)
    frames = tuple({key(m): plot(digest, metric, m) for m in found} for metric in METRICS)
    samples = digest.run.scans[0]["samples"]
    return Board("sensitivity", (Control("method", "cut", options),), frames, "One layer is cut, the others are whole. "
                 f"Outputs are those of {samples:,} training samples; lines are means over the seeds, bands run from "
                 f"the lowest to the highest.{few(found)}")


def key(method: Method) -> str:
    """The value of a method among the options."""
    return "-".join(method)


def few(found: dict[Method, list[list[Layer]]]) -> str:
    """What is left out where a network has many layers."""
    most = max(len(seeds[0]) for seeds in found.values())
    return f" Drawn are the {MOST} most sensitive of {most} layers." if most > MOST else ""


def plot(digest: Digest, metric: str, method: Method) -> Plot:
    """One metric, a line for every layer."""
    seeds = methods(digest)[method]
    lines = tuple(line([layers[i] for layers in seeds], metric, place) for place, i in enumerate(order(seeds)))
    title = {"loss": "Outputs moved", "same": "Answers that stay"}[metric]
    return Plot(f"sensitivity-{metric}-{key(method)}", f"{title}, one layer cut", FRACTION, METRICS[metric],
                lines)


def order(seeds: list[list[Layer]]) -> list[int]:
    """The layers to draw, in the network's order: all, or the most sensitive by the sum of their divergences."""
    layers = seeds[0]
    ranked = sorted(range(len(layers)), key=lambda i: -sum(sum(s[i]["loss"]) for s in seeds))
    return sorted(ranked[:MOST])


def line(layers: list[Layer], metric: str, place: int) -> Series:
    """One layer over the seeds."""
    first = layers[0]
    places = [i for i, n in enumerate(first["removed"]) if n or metric == "same"]
    x = tuple(first["removed"][i] / first["items"] for i in places)
    values = [spread([max(layer[metric][i], FLOOR) for layer in layers]) for i in places]
    return Series(first["name"], ROLES[place % len(ROLES)], x, tuple(v.mean for v in values),
                  tuple(v.low for v in values), tuple(v.high for v in values),
                  dash=DASHES[place // len(ROLES) % len(DASHES)], symbol=SYMBOLS[place % len(SYMBOLS)],
                  text=tuple(tooltip(first, a, v, metric) for a, v in zip(x, values, strict=True)))


def tooltip(layer: Layer, cut: float, value: Spread, metric: str) -> str:
    """What hovering over a point tells."""
    told = (f"divergence {value.mean:.3g} nats" if metric == "loss" else
            f"{text.percent(value.mean, 2)} of the answers stay")
    return f"{layer['name']}, {text.percent(cut)} of {text.count(layer['items'])} cut\n{told}"


def table(digest: Digest) -> Table:
    """The divergence of every layer at some sparsities, means over the seeds."""
    rows = [(*method, layer["name"], text.count(layer["items"]), *(cell([s[i] for s in seeds], s0) for s0 in SHOWN))
            for method, seeds in methods(digest).items() for i, layer in enumerate(seeds[0])]
    named = tuple((layer, text.noun(granularity), criterion, items, *cells)
                  for granularity, criterion, layer, items, *cells in rows)
    head = ("layer", "cut", "by", "items", *(f"at {text.percent(s)}" for s in SHOWN))
    return Table(head, named, frozenset(range(3, len(head))))


def cell(layers: list[Layer], sparsity: float) -> str:
    """The mean divergence where the layer was cut nearest to a sparsity; a dash where that was not near."""
    cuts = [n / layers[0]["items"] for n in layers[0]["removed"]]
    near = min(range(len(cuts)), key=lambda i: abs(cuts[i] - sparsity))
    if abs(cuts[near] - sparsity) > NEAR * (1 - sparsity):
        return "–"
    return f"{sum(layer['loss'][near] for layer in layers) / len(layers):.3g}"


def sentence(digest: Digest) -> str:
    """Which layer bears least and which most, by the divergence at the largest common cut that was looked at."""
    (granularity, criterion), seeds = next(iter(methods(digest).items()))
    sums = {layer["name"]: sum(sum(s[i]["loss"]) for s in seeds) for i, layer in enumerate(seeds[0])}
    if len(sums) < 2:
        return ""
    worst, best = max(sums, key=sums.__getitem__), min(sums, key=sums.__getitem__)
    return (f"Of {text.noun(granularity)} by {criterion}, those of {worst} move the outputs most, those of {best} "
            "least.")
