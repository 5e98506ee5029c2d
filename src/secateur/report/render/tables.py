"""The tables of the report: rows of text, for the page and for Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from secateur.core import text
from secateur.recovery.stages import describe, mean_stages
from secateur.report.conclusions import AnswerRow, answer_rows, rival_row
from secateur.report.plots.base import Table
from secateur.report.plots.distributions import by_layer, mean_by_place
from secateur.report.results import Cell, Curve, Method, Results
from secateur.report.statistics import Interval

LEGEND = "Each cell: |w| of weights / norms of neurons; variation is standard deviation over mean"


DOUBTFUL = "†: probably; the 95% interval of the loss, here or at a smaller sparsity, reaches beyond the tolerance"


def answers(results: Results) -> Table:
    """What is removable, plain and recovered, and what it costs and buys: four rows in a study of the defaults, below
    that of the best uncut network in fewer bits."""
    rows = [*filter(None, [rival_row(results)]), *answer_rows(results)]
    batches = list(dict.fromkeys(batch for row in rows for batch, _ in row.speeds))
    head = ("cut", "removable", "accuracy ±", "size", *(f"speed at\u00a0{b}" for b in batches))
    # What differs from the row above in bits alone is called so, which fits a phone.
    names = [f"… and {text.bits_name(row.method.bits)}" if above and _is_twin(above, row) else answer_name(row)
             for above, row in zip([None, *rows], rows, strict=False)]
    return Table(head, tuple(_answer(name, row, batches) for name, row in zip(names, rows, strict=True)), 1)


def _is_twin(above: AnswerRow, row: AnswerRow) -> bool:
    """Whether two rows differ in bits alone."""
    return above.method.granularity == row.method.granularity and bool(above.recovery) == bool(row.recovery)


def key_to_answers(results: Results) -> str:
    """What the words of the table of answers mean; empty for a run without a recovery."""
    rows, rival = answer_rows(results), results.rival
    recoveries = dict.fromkeys(row.recovery for row in rows if row.recovery)
    alone = f"{rival.name}: the uncut network. " if rival else ""
    untimed = " –: not timed." if results.batches and (rival or any(row.method.bits != 32 for row in rows)) else ""
    relative = f"Size and speed are relative to the uncut network in float32 on this machine.{untimed}"
    if not recoveries:
        return f"{alone}{relative}" if rival else ""
    plain = "Plain: nothing was done after the cut. " if len(rows) > len([r for r in rows if r.recovery]) else ""
    return f"{alone}{plain}Recovered: the cut was followed by {text.join_words(list(recoveries))}. {relative}"


def _answer(name: str, row: AnswerRow, batches: list[str]) -> tuple[str, ...]:
    """The row of one answer; what is not sure has a mark behind it."""
    if row.sparsity is None or row.accuracy is None or row.size is None:
        return (name, "none", *["–"] * (2 + len(batches)))
    speeds = dict(row.speeds)
    size = text.percent(row.size, 0 if row.size > 0.1 else 1)
    return (name, f"{text.percent(row.sparsity)}{'' if row.is_sure else '†'}", accuracy_with_interval(row.accuracy),
            size, *(speeds[b].shown if b in speeds else "–" for b in batches))


def answer_name(row: AnswerRow) -> str:
    """What a row of the table of answers is about."""
    if not row.method.granularity:
        return row.method.name
    bits = "" if row.method.bits == 32 else f", {text.bits_name(row.method.bits)}"
    return f"{text.noun(row.method.granularity)}, {'recovered' if row.recovery else 'plain'}{bits}"


def accuracy_with_interval(accuracy: Interval) -> str:
    """An accuracy with half its interval, in percent.

    >>> accuracy_with_interval(Interval(0.9778, 0.9757, 0.9799, ("seeds",)))
    '97.8% ± 0.2'
    """
    half = (accuracy.high - accuracy.low) / 2
    return f"{100 * accuracy.mean:.1f}%" + (f" ± {100 * half:.1f}" if math.isfinite(half) else "")


def results(results: Results, controls: bool = True) -> Table:
    """Every method and sparsity, means over the seeds."""
    head = ("cut", "sparsity", "accuracy", "points lost (95%)", "loss", "parameters left", "FLOPs left", "stored",
            *(f"speed at batch {b}" for b in results.batches))
    alone = [_result(one.method, one.cell, results) for one in results.quantized]
    return Table(head, (*alone, *(_result(curve.method, cell, results) for curve in results.methods(controls=controls)
                                  for cell in curve.cells)), 1)


def _result(method: Method, cell: Cell, results: Results) -> tuple[str, ...]:
    """The row of one cell."""
    cost = cell.cost
    span = f" ({text.points(cost.low)} to {text.points(cost.high)})" if math.isfinite(cost.low) else ""
    speeds = [cell.speed(b, method.way) for b in results.batches]
    return (method.name, text.percent(cell.sparsity), text.percent(cell.accuracy.mean, 2),
            text.points(cost.mean) + span, f"{cell.loss.mean:.4g}", text.count(cell.nonzeros),
            text.with_prefix(cell.flops_nonzero), text.with_prefix(cell.stored, "B"),
            *(s.shown if s else "–" for s in speeds))


def weight_statistics(results: Results) -> Table:
    """Each layer's weights / neurons, means over the seeds."""
    thresholds = results.run.weight_statistics[0]["thresholds"]
    head = ("layer", "shape", "variation", "Gini", *(f"under {t:g} × mean" for t in thresholds))
    return Table(head, tuple(_statistics_row(name, records) for name, records in by_layer(results).items()), 2)


def _statistics_row(name: str, records: list[dict[str, Any]]) -> tuple[str, ...]:
    """One layer."""
    kinds = ("weight", "neuron")
    spreads = [" / ".join(f"{fmean(r[k][m] for r in records):.2f}" for k in kinds) for m in ("cv", "gini")]
    below = [mean_by_place([r[k]["by_mean"]["below"] for r in records]) for k in kinds]
    return (name, "\u00a0×\u00a0".join(str(n) for n in records[0]["shape"]), *spreads,
            *(f"{text.percent(w)} / {text.percent(n)}" for w, n in zip(*below, strict=True)))


def training(results: Results) -> Table:
    """The networks before the cut, one row a seed."""
    rows = tuple((str(t["seed"]), f"{t['accuracy']:.4f}", f"{t['loss']:.4g}", f"{t['parameters']:,}",
                  str(len(t.get("history") or ()))) for t in results.run.trained)
    return Table(("seed", "test accuracy", "test loss", "parameters", "epochs trained here"), rows, 0)


def layers(results: Results) -> list[dict[str, Any]]:
    """What each method removes of each layer: a record a method, with an entry for each place of the slider."""
    return [{"method": curve.method.name, "noun": text.noun(curve.method.granularity),
             "sparsities": [_layers_at(curve, s) for s in results.keeps]} for curve in results.methods(controls=True)]


def _layers_at(curve: Curve, sparsity: float) -> dict[str, Any] | None:
    """One sparsity of one method; None where it was not measured."""
    cell = next((c for c in curve.cells if c.sparsity == sparsity), None)
    if cell is None:
        return None
    steps = describe(mean_stages(row.stages for row in cell.rows))
    notes = sorted({note for row in cell.rows for note in row.notes})
    return {"rows": _layer_rows(cell), "notes": [*filter(None, [steps]), *notes]}


def _layer_rows(cell: Cell) -> list[list[str]]:
    """One row a layer: name, items, removed, kept, sparsity; means over the seeds."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for layer in (layer for row in cell.rows for layer in row.layers):
        by_name.setdefault(layer["name"], []).append(layer)
    rows = []
    for name, records in by_name.items():
        items, cut = fmean(r["items"] for r in records), fmean(r["removed"] for r in records)
        rows.append([name, text.count(items), text.count(cut), text.count(items - cut),
                     text.percent(cut / items, 2)])
    return rows


def settings(values: Mapping[str, Any]) -> Table:
    """Names and values."""
    return Table(("setting", "value"), tuple((str(k), _value(v)) for k, v in values.items()), 2)


def machine(results: Results) -> Table:
    """The machine, and what the timings ran with where the rows have it."""
    engines = {name: sorted({row[key] for row in results.run.points if row[key]})
               for key, name in (("engine_used", "sparse engine that ran"), ("threads_used", "threads while timing"))}
    errors = [row.sparse_error for row in results.run.points if row.sparse_error is not None]
    worst = {"greatest difference, sparse run against dense": f"{max(errors):.2g} relative"} if errors else {}
    return settings({**results.run.machine, **{k: v for k, v in engines.items() if v}, **worst})


def _value(v: Any) -> str:
    """A setting's value as text."""
    if isinstance(v, (list, tuple)):
        return ", ".join(_value(x) for x in v) or "none"
    if isinstance(v, dict):
        return json.dumps(v, sort_keys=True, default=str)
    words = {None: "none", True: "yes", False: "no", "": "none"}
    return words[v] if v in (None, "") or isinstance(v, bool) else f"{v:g}" if isinstance(v, float) else str(v)
