"""What the page and the summary both say, as values for their templates."""

from __future__ import annotations

from typing import Any

from secateur.core import text as words
from secateur.measure.noise import LEGEND
from secateur.report import conclusions, explanation, sentences
from secateur.report.conclusions import Answer
from secateur.report.plots import distributions, palette, sensitivity, speed
from secateur.report.render import tables
from secateur.report.results import Cell, Results


def content(results: Results) -> dict[str, Any]:
    """Sentences, paragraphs and tables; a table that the run cannot fill is not among them."""
    by_name = {"answers": tables.answers(results), "results": tables.results(results),
               "training": tables.training(results),
               "settings": tables.settings(results.run.config), "machine": tables.machine(results)}
    if distributions.by_layer(results):
        by_name["weight_statistics"] = tables.weight_statistics(results)
    if results.run.scans:
        by_name["sensitivity"] = sensitivity.table(results)
    return {"run": results.run, "config": results.run.config,
            "timings_note": _timings_note(results), "noisy": LEGEND if results.noisy else "",
            "headline": sentences.headline(results), "findings": sentences.explanation(results),
            "refusals": conclusions.refusals(results), "break_even": speed.break_even_sentences(results),
            "explanation": explanation.paragraphs(results), "tables": by_name, "legend": tables.LEGEND,
            "sensitivity": sensitivity.sentence(results) if results.run.scans else ""}


def _timings_note(results: Results) -> str:
    """Which networks were timed, and which rows share a timing; nothing where each has its own."""
    run, shared = results.run, sum(bool(row.timed_as) for row in results.run.points)
    timed = len({row.seed for row in run.points if row.latency})
    seeds = [f"Speed was measured on {timed} of {len(run.trained)} networks."] if 0 < timed < len(run.trained) else []
    rows = [f"{words.count(shared)} of {words.count(sum(bool(row.latency) for row in run.points))} timings are shared: "
            "neuron cuts of equal shapes are timed once, and random controls take the timing of a cut with as many "
            "zeros in every layer."] if shared else []
    return " ".join([*seeds, *rows])


def cards(results: Results) -> list[dict[str, Any]]:
    """One card an answer: its title, its colour role, the share, whether it can go, and its facts as (name, value)."""
    return [{"title": f"{words.capital(a.method.name)} ({a.method.criterion}, scope {a.method.scope})",
             "role": palette.role(a.method.granularity), "share": words.percent(a.cell.sparsity if a.cell else 0),
             "can": "can go" if a.is_sure or not a.cell else "can probably go", "facts": _facts(a, results)}
            for a in conclusions.all_answers(results)]


def _facts(a: Answer, results: Results) -> list[tuple[str, str]]:
    """Cost, size and speed; where nothing can go, the cost of the first cut."""
    cell = a.cell
    if cell is None:
        return [(f"at {words.percent(a.too_much.sparsity)}", _cost(a.too_much))] if a.too_much else []
    facts = [("accuracy", _cost(cell)),
             ("removed", f"{words.count(cell.removed)} of {words.count(cell.items)}"),
             ("parameters left", f"{words.count(cell.nonzeros)} of {words.count(results.dense.parameters)}"),
             ("stored", f"{words.with_prefix(cell.stored, 'B')} of {words.with_prefix(results.dense.bytes, 'B')}")]
    return facts + [(f"speed, batch {b}", f"{s.shown} (quartiles {words.times(s.low)} to {words.times(s.high)})")
                    for b, s in conclusions.headline_speeds(a.method, cell, results)]


def _cost(cell: Cell) -> str:
    """The loss of accuracy, and what its interval is drawn over."""
    return conclusions.cost_words(cell) + (f" over {words.join_words(cell.cost.over)}" if cell.cost.over else "")
