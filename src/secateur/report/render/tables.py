"""The tables of the report: rows of text, for the page and for Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from secateur.core import text
from secateur.report.conclusions import RUN_WITH
from secateur.report.plots.base import Table
from secateur.report.plots.distributions import by_layer, mean_of
from secateur.report.results import Cell, Curve, Digest

ANATOMY = "Each cell: |w| of weights / norms of neurons; variation is standard deviation over mean"




def markdown(table: Table) -> str:
    """The table in Markdown."""
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"

    rule = "|" + "|".join("---:" if i in table.numbers else "---" for i in range(len(table.head))) + "|"
    return "\n".join([line(table.head), rule, *(line(r) for r in table.rows)])


def results(digest: Digest, controls: bool = True) -> Table:
    """Every method and sparsity, means over the seeds."""
    head = ("cut", "sparsity", "accuracy", "points lost (95%)", "loss", "parameters left", "FLOPs left", "stored",
            *(f"speed at batch {b}" for b in digest.batches))
    rows = tuple(result(curve, cell, digest) for curve in digest.methods(controls=controls) for cell in curve.cells)
    return Table(head, rows, frozenset(range(1, len(head))))


def result(curve: Curve, cell: Cell, digest: Digest) -> tuple[str, ...]:
    """The row of one cell."""
    return (curve.method.name, text.percent(cell.sparsity), text.percent(cell.accuracy.mean, 2), cost(cell),
            f"{cell.loss.mean:.4g}", text.count(cell.nonzeros), text.scaled(cell.flops_nonzero),
            text.scaled(cell.stored, "B"), *(ratio(curve, cell, b) for b in digest.batches))


def cost(cell: Cell) -> str:
    """The loss of accuracy with its interval."""
    c = cell.cost
    span = f" ({text.points(c.low)} to {text.points(c.high)})" if math.isfinite(c.low) else ""
    return text.points(c.mean) + span


def ratio(curve: Curve, cell: Cell, batch: str) -> str:
    """The speed-up, or a dash."""
    speed = cell.speed.get(batch, {}).get(RUN_WITH.get(curve.method.granularity, "sparse"))
    return text.times(speed.ratio) if speed else "–"


def anatomy(digest: Digest) -> Table:
    """Each layer's weights / neurons, means over the seeds."""
    thresholds = digest.run.anatomy[0]["thresholds"]
    head = ("layer", "shape", "variation", "Gini", *(f"under {t:g} × mean" for t in thresholds))
    return Table(head, tuple(anatomy_row(name, records) for name, records in by_layer(digest).items()),
                 frozenset(range(2, len(head))))


def anatomy_row(name: str, records: list[dict[str, Any]]) -> tuple[str, ...]:
    """One layer."""
    kinds = ("weight", "neuron")
    spreads = [" / ".join(f"{mean_of([[r[k][m]] for r in records])[0]:.2f}" for k in kinds) for m in ("cv", "gini")]
    below = [mean_of([r[k]["by_mean"]["below"] for r in records]) for k in kinds]
    return (name, "\u00a0×\u00a0".join(str(n) for n in records[0]["shape"]), *spreads,
            *(f"{text.percent(w)} / {text.percent(n)}" for w, n in zip(*below, strict=True)))


def layers(digest: Digest) -> list[dict[str, Any]]:
    """What each method removes of each layer at each sparsity: records for the page to choose from."""
    return [{"method": curve.method.name, "noun": text.noun(curve.method.granularity), "sparsities": [
        {"sparsity": text.percent(cell.sparsity), "rows": layer_rows(cell), "notes": notes(cell)}
        for cell in curve.cells]} for curve in digest.methods(controls=True)]


def layer_rows(cell: Cell) -> list[list[str]]:
    """One row a layer: name, items, removed, kept, sparsity; means over the seeds."""
    found: dict[str, list[dict[str, Any]]] = {}
    for p in cell.points:
        for layer in p["layers"]:
            found.setdefault(layer["name"], []).append(layer)
    rows = []
    for name, records in found.items():
        items, removed = (mean_of([[r[k]] for r in records])[0] for k in ("items", "removed"))
        rows.append([name, text.count(items), text.count(removed), text.count(items - removed),
                     text.percent(removed / items, 2)])
    return rows


def notes(cell: Cell) -> list[str]:
    """What the guards did, each once."""
    return sorted({n for p in cell.points for n in p.get("notes") or ()})


def settings(values: Mapping[str, Any]) -> Table:
    """Names and values."""
    return Table(("setting", "value"), tuple((str(k), value(v)) for k, v in values.items()))


def machine(digest: Digest) -> dict[str, Any]:
    """The machine, and what the timings ran with where the points tell."""
    used = {name: sorted({p[key] for p in digest.run.points if p.get(key)})
            for key, name in (("engine_used", "sparse engine that ran"), ("threads_used", "threads while timing"))}
    errors = [p["sparse_error"] for p in digest.run.points if p.get("sparse_error") is not None]
    checked = {"greatest difference, sparse run against dense": f"{max(errors):.2g} relative"} if errors else {}
    return {**digest.run.machine, **{k: v for k, v in used.items() if v}, **checked}


def value(v: Any) -> str:
    """A setting's value as text."""
    if isinstance(v, (list, tuple)):
        return ", ".join(value(x) for x in v) or "none"
    if isinstance(v, dict):
        return json.dumps(v, sort_keys=True, default=str)
    named = {None: "none", True: "yes", False: "no", "": "none"}
    return named[v] if v in (None, "") or isinstance(v, bool) else f"{v:g}" if isinstance(v, float) else str(v)
