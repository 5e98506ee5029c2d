"""The first screen: a headline, the table of four, and what the slider says at each of its places."""

from __future__ import annotations

import math
from typing import Any

from secateur.core import text
from secateur.measure.speed import PACES, Speed, pace
from secateur.report import conclusions
from secateur.report.conclusions import Answer
from secateur.report.plots.base import Table
from secateur.report.results import Cell, Curve, Results

MOST_WORDS = 20
"""The longest headline, in words."""


def headline(results: Results) -> str:
    """How much can go, in at most twenty words."""
    found = conclusions.answers(results, recovery=True) or conclusions.answers(results)
    parts = [f"{text.percent(a.cell.sparsity)} of the {text.noun(a.method.granularity)}" for a in found if a.cell]
    limit = f"{100 * results.tolerance:g} points of {text.percent(results.dense.accuracy.mean)}"
    if not found:
        return "Only random controls were cut: nothing can be said about what can go."
    if not parts:
        return f"No share of this grid can go within {limit} accuracy."
    return f"You can remove {text.join_words(parts[:2], 'or')} and stay within {limit} accuracy."


def table(results: Results) -> Table:
    """What each granularity can lose within the tolerance, plainly and with recovery."""
    batches = conclusions.headline_batches(results)
    head = ("cut", "can go", "accuracy ±", "size", *(f"speed at\u00a0{b}" for b in batches))
    return Table(head, tuple(_row(a, results, batches) for a in conclusions.all_answers(results)), 1)


def _row(a: Answer, results: Results, batches: list[str]) -> tuple[str, ...]:
    """One answer; dashes where nothing can go."""
    name, cell = f"{text.noun(a.method.granularity)}, {'recovered' if a.method.has_recovery else 'plain'}", a.cell
    if cell is None:
        return (name, "0%", *["–"] * (2 + len(batches)))
    speeds = [cell.speed(b, a.method.way) for b in batches]
    return (name, text.percent(cell.sparsity), _accuracy(cell),
            f"÷\u2009{results.dense.bytes / cell.stored:.3g}", *(text.times(s.ratio) if s else "–" for s in speeds))


def _accuracy(cell: Cell) -> str:
    """The accuracy, with half the interval of what the cut costs."""
    half = cell.cost.high - cell.cost.mean
    return f"{100 * cell.accuracy.mean:.1f}%" + (f" ± {100 * half:.1f}" if math.isfinite(half) else "")


def start(results: Results) -> int:
    """Where the slider stands at first: at the most that a headline says can go, else in the middle."""
    cells = [a.cell for a in conclusions.answers(results, recovery=True) or conclusions.answers(results) if a.cell]
    places = results.keeps
    return places.index(cells[0].sparsity) if cells and cells[0].sparsity in places else len(places) // 2


def slider(results: Results) -> dict[str, Any]:
    """The places of the slider: the sparsity of each, and its sentence at every batch."""
    return {"start": start(results), "places": [
        {"sparsity": s, "kept": text.percent(1 - s, 2),
         "sentences": {b: sentence(results, s, b) for b in results.batches or ("",)}} for s in results.keeps]}


def sentence(results: Results, sparsity: float, batch: str) -> str:
    """What keeping a share gives: accuracy and speed, of weights and of neurons."""
    found = results.cells_at(sparsity)
    if not found:
        return "Nothing was measured here."
    if sparsity == 0:
        return f"Keep everything: {text.percent(results.dense.accuracy.mean)} accuracy, the original network."
    clauses = [_clause(curve, cell, batch) for curve, cell in found]
    timed = f" at batch {batch}" if batch and any(cell.speeds for _, cell in found) else ""
    return f"Keep {text.percent(1 - sparsity, 2)} of {'; or of '.join(clauses)}{timed}."


def _clause(curve: Curve, cell: Cell, batch: str) -> str:
    """One cut: its accuracy and its speed."""
    s = cell.speed(batch, curve.method.way)
    recovered = " with recovery" if curve.method.has_recovery else ""
    return f"the {text.noun(curve.method.granularity)}{recovered}: {_accuracy(cell)} accuracy" + (
        f", {_speed(s)}" if s else "")


def _speed(s: Speed) -> str:
    """A speed in words: a number only where it is none of the spread."""
    found = pace(s.ratio, s.low, s.high)
    return PACES[found] if found == "even" else f"{text.times(s.ratio)} the speed"
