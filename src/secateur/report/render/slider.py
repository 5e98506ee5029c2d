"""What the page's slider says: its places, and a sentence for each at every batch."""

from __future__ import annotations

from typing import Any

from secateur.core import text
from secateur.measure.speed import PACES, Speed
from secateur.report.conclusions import accuracy_of, answer_rows, size_words
from secateur.report.render.tables import accuracy_with_interval
from secateur.report.results import Cell, Curve, Results


def slider(results: Results) -> dict[str, Any]:
    """The places of the slider: the sparsity of each, and its sentence at every batch."""
    return {"start": start(results), "places": [
        {"sparsity": s, "kept": text.percent(1 - s, 2),
         "sentences": {b: sentence(results, s, b) for b in results.batches or ("",)}} for s in results.keeps]}


def start(results: Results) -> int:
    """Where the slider stands at first: at the most that can go of the first granularity, else in the middle."""
    rows = answer_rows(results)
    most = max((r.sparsity for r in rows if r.sparsity is not None
                and r.method.granularity == rows[0].method.granularity), default=None)
    return results.keeps.index(most) if most in results.keeps else len(results.keeps) // 2


def sentence(results: Results, sparsity: float, batch: str) -> str:
    """What keeping a share gives: accuracy and speed, of weights and of neurons."""
    found = results.cells_at(sparsity)
    if not found:
        return "Nothing was measured here."
    if sparsity == 0:
        alone = "".join(f" {one.name}: {accuracy_with_interval(accuracy_of(one.cell, results))} accuracy, "
                        f"{size_words(one.cell.stored, results)} of the bytes." for one in results.quantized)
        return f"Keep everything: {text.percent(results.dense.accuracy.mean)} accuracy, the original network.{alone}"
    timed = f" at batch {batch}" if batch and any(cell.speeds for _, cell in found) else ""
    clauses = [_clause(curve, cell, batch, results) for curve, cell in found]
    return f"Keep {text.percent(1 - sparsity, 2)} of {'; or of '.join(clauses)}{timed}."


def _clause(curve: Curve, cell: Cell, batch: str, results: Results) -> str:
    """One cut: its accuracy and its speed."""
    speed, accuracy = cell.speed(batch, curve.method.way), accuracy_of(cell, results)
    recovered = " with recovery" if curve.method.has_recovery else ""
    return (f"the {text.noun(curve.method.granularity)}{recovered}: {accuracy_with_interval(accuracy)} accuracy"
            + (f", {_pace(speed)}" if speed else ""))


def _pace(speed: Speed) -> str:
    """A speed in words: a number only where the timing tells one."""
    if speed.pace == "noisy":
        return "speed not known (a noisy timing)"
    return PACES["even"] if speed.pace == "even" else f"{text.times(speed.ratio)} the speed"
