"""The sensitivity scan: how far the outputs move when each layer is cut by itself."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from statistics import fmean
from typing import Any

from secateur.core import text
from secateur.report.plots.base import KEPT, Axis, Board, Control, Plot, Series, Table
from secateur.report.results import Results
from secateur.report.statistics import Spread, spread

METRICS = {"loss": Axis("divergence of the outputs (nats)", log=True),
           "same": Axis("unchanged predictions", percent=True)}
MOST = 18
_FRACTION = replace(KEPT, title="fraction of the layer kept")
_ROLES = ("weight", "neuron", "other", "weight-2", "neuron-2", "other-2", "weight-3", "neuron-3", "other-3")
_SYMBOLS, _DASHES = ("circle", "square", "diamond", "triangle"), ("solid", "dash", "dot")
# A divergence of 0 has no place on a logarithmic axis.
_FLOOR = 1e-6
_IN_TABLE = (0.5, 0.8, 0.9, 0.95, 0.99)
# A column of the table takes the cut nearest to its sparsity, as long as what it leaves is off by no more than this.
_NEAR = 0.25
Method = tuple[str, str]
Layer = dict[str, Any]


def methods(results: Results) -> dict[Method, list[list[Layer]]]:
    """Granularity and criterion to the layers of every seed's scan; none where nothing was scanned."""
    scans: dict[Method, list[list[Layer]]] = defaultdict(list)
    for scan in results.run.scans:
        scans[scan["granularity"], scan["criterion"]].append(scan["layers"])
    return dict(scans)


def board(results: Results) -> Board:
    """Divergence and agreement against what is kept of one layer, under a choice of method."""
    by_method = methods(results)
    options = tuple(("-".join(m), f"{text.noun(m[0])}, {m[1]}") for m in by_method)
    frames = tuple({"-".join(m): plot(results, metric, m) for m in by_method} for metric in METRICS)
    most = max(len(seeds[0]) for seeds in by_method.values())
    few = f" Only the {MOST} most sensitive of {most} layers are drawn." if most > MOST else ""
    return Board("sensitivity", (Control("method", "cut", options),), frames, "One layer is pruned, the others are "
                                                                              f"whole. The outputs are for "
                                                                              f"{results.run.scans[0]['samples']:,} "
                                                                              "training samples; lines are means over "
                                                                              "the "
                 f"seeds, bands run from the lowest to the highest.{few}")


def plot(results: Results, metric: str, method: Method) -> Plot:
    """One metric, a line for every layer."""
    seeds = methods(results)[method]
    order = sorted(range(len(seeds[0])), key=lambda i: -_divergence(seeds, i))
    places = enumerate(sorted(order[:MOST]))
    lines = tuple(_line([layers[i] for layers in seeds], metric, place) for place, i in places)
    title = {"loss": "Change of the outputs", "same": "Unchanged predictions"}[metric]
    return Plot(f"{title}, one layer cut", _FRACTION, METRICS[metric], lines)


def _divergence(seeds: list[list[Layer]], layer: int) -> float:
    """How sensitive a layer is: the sum of its divergences."""
    return sum(sum(layers[layer]["loss"]) for layers in seeds)


def _line(layers: list[Layer], metric: str, place: int) -> Series:
    """One layer over the seeds."""
    first = layers[0]
    places = [i for i, n in enumerate(first["removed"]) if n < first["items"] and (n or metric == "same")]
    x = tuple(1 - first["removed"][i] / first["items"] for i in places)
    values = [spread([max(layer[metric][i], _FLOOR) for layer in layers]) for i in places]
    return Series(first["name"], _ROLES[place % len(_ROLES)], x, tuple(v.mean for v in values),
                  tuple(v.low for v in values), tuple(v.high for v in values),
                  dash=_DASHES[place // len(_ROLES) % len(_DASHES)], symbol=_SYMBOLS[place % len(_SYMBOLS)],
                  text=tuple(_tooltip(first, a, v, metric) for a, v in zip(x, values, strict=True)))


def _tooltip(layer: Layer, kept: float, value: Spread, metric: str) -> str:
    """What hovering over a point shows."""
    effect = (f"divergence {value.mean:.3g} nats" if metric == "loss" else
              f"{text.percent(value.mean, 2)} of the predictions unchanged")
    return f"{layer['name']}, {text.percent(kept)} of {text.count(layer['items'])} kept\n{effect}"


def table(results: Results) -> Table:
    """The divergence of every layer at some sparsities, means over the seeds."""
    head = ("layer", "cut", "by", "items", *(f"at {text.percent(s)}" for s in _IN_TABLE))
    return Table(head, tuple(
        (layers[0]["name"], text.noun(granularity), criterion, text.count(layers[0]["items"]),
         *(_cell(layers, sparsity) for sparsity in _IN_TABLE))
        for (granularity, criterion), seeds in methods(results).items() for layers in zip(*seeds, strict=True)), 3)


def _cell(layers: tuple[Layer, ...], sparsity: float) -> str:
    """The mean divergence where the layer was cut nearest to a sparsity; a dash where that was not near."""
    cuts = [n / layers[0]["items"] for n in layers[0]["removed"]]
    nearest = min(range(len(cuts)), key=lambda i: abs(cuts[i] - sparsity))
    if abs(cuts[nearest] - sparsity) > _NEAR * (1 - sparsity):
        return "–"
    return f"{fmean(layer['loss'][nearest] for layer in layers):.3g}"


def sentence(results: Results) -> str:
    """Which layer moves the outputs most, by the first method that was scanned; said only where all seeds agree."""
    (granularity, criterion), seeds = next(iter(methods(results).items()))
    if len(seeds[0]) < 2:
        return ""
    worst = {max(layers, key=lambda layer: sum(layer["loss"]))["name"] for layers in seeds}
    if len(worst) > 1:
        return f"The seeds do not agree on the layer whose {text.noun(granularity)} ({criterion}) matter most."
    return f"Cutting the {text.noun(granularity)} of {worst.pop()} ({criterion}) moves the outputs most, in every seed."
