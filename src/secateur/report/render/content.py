"""What the page and the summary both say, as values for their templates."""

from __future__ import annotations

from typing import Any

from secateur.core import text as words
from secateur.measure.noise import LEGEND
from secateur.report import conclusions, explanation, sentences
from secateur.report.plots import distributions, sensitivity, speed
from secateur.report.render import tables
from secateur.report.results import Results


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
            "doubtful": tables.DOUBTFUL, "key": tables.key_to_answers(results),
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
    untimed = ["Networks in fewer bits were not timed."] * (bool(results.batches) and results.has_untimed_bits)
    return " ".join([*seeds, *rows, *untimed])
