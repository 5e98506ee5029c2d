"""The figures on top of the page: what each granularity's cut costs and buys."""

from __future__ import annotations

from typing import Any

from secateur.core import text as words
from secateur.report.conclusions import Answer, all_answers, cost_words, headline_speeds
from secateur.report.plots import palette
from secateur.report.results import Cell, Results


def cards(results: Results) -> list[dict[str, Any]]:
    """One card an answer: its title, its colour role, the share that can go, and its facts as (name, value)."""
    return [{"title": f"{words.capital(a.method.name)} ({a.method.criterion}, scope {a.method.scope})",
             "role": palette.role(a.method.granularity), "share": words.percent(a.cell.sparsity if a.cell else 0),
             "facts": _facts(a, results)} for a in all_answers(results)]


def _facts(a: Answer, results: Results) -> list[tuple[str, str]]:
    """Cost, size and speed; where nothing can go, the cost of the first cut."""
    cell = a.cell
    if cell is None:
        return [(f"at {words.percent(a.refused.sparsity)}", _cost(a.refused))] if a.refused else []
    facts = [("accuracy", _cost(cell)),
             ("removed", f"{words.count(cell.removed)} of {words.count(cell.items)}"),
             ("parameters left", f"{words.count(cell.nonzeros)} of {words.count(results.dense.parameters)}"),
             ("stored", f"{words.scaled(cell.stored, 'B')} of {words.scaled(results.dense.bytes, 'B')}")]
    return facts + [(f"speed, batch {b}", f"{words.times(s.ratio)} (quartiles {words.times(s.low)} to "
                     f"{words.times(s.high)})") for b, s in headline_speeds(a.method, cell, results)]


def _cost(cell: Cell) -> str:
    """The loss of accuracy, and what its interval is drawn over."""
    return cost_words(cell) + (f" over {words.listed(cell.cost.over)}" if cell.cost.over else "")
