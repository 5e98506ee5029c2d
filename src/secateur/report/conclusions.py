"""The sentence on top: how much can go within the tolerance, and what it buys."""

from __future__ import annotations

import math
from dataclasses import dataclass

from secateur.core import text as words
from secateur.measure.speed import PACES, Speed, in_words, pace
from secateur.report.results import Cell, Curve, Method, Results

Part = tuple[str, str]
"""A piece of a sentence and its colour role, which is empty for plain text."""


@dataclass(frozen=True)
class Answer:
    """What one granularity can lose.

    ``cell`` is the largest sparsity of the grid at which the mean loss of accuracy lies within the
    tolerance there and at every smaller sparsity of the grid; None where even the smallest is too much.
    ``too_much`` is the next sparsity; None where the grid ends first. ``cells`` are all the method's.
    """

    method: Method
    cell: Cell | None
    too_much: Cell | None
    cells: tuple[Cell, ...]


def answer(curve: Curve, tolerance: float) -> Answer:
    """The answer of one method."""
    best = None
    for cell in (c for c in curve.cells if c.removed > 0):
        # A loss of exactly the tolerance counts as within it, whatever the last bit of the difference says.
        if not cell.cost.mean <= tolerance + 1e-12:
            return Answer(curve.method, best, cell, curve.cells)
        best = cell
    return Answer(curve.method, best, None, curve.cells)


def answers(results: Results, recovery: bool = False) -> list[Answer]:
    """One answer for each granularity: its best method without recovery, which can cut most, then costs least.

    With ``recovery`` the same for the methods with one, where a granularity has methods without one too.
    """
    curves_of = results.with_recovery if recovery else results.plain
    return [max((answer(c, results.tolerance) for c in curves),
                key=lambda a: (a.cell.sparsity, -a.cell.cost.mean) if a.cell else (-1.0, 0.0))
            for g in results.granularities if (curves := curves_of(g))]


def all_answers(results: Results) -> list[Answer]:
    """The answers without and with a recovery, ordered by granularity."""
    both = [*answers(results), *answers(results, recovery=True)]
    return [a for g in results.granularities for a in both if a.method.granularity == g]


def sentence(results: Results) -> str:
    """The sentence as plain text, followed by one about what recovery adds."""
    sentences = (sentence_parts(results), recovered_parts(results))
    return " ".join("".join(text for text, _ in parts) for parts in sentences if parts)


def sentence_parts(results: Results) -> list[Part]:
    """The sentence about the cuts with nothing done after them."""
    best, config = answers(results), results.run.config
    plain = ", with nothing done after the cut," if answers(results, recovery=True) else ""
    opening = (f"Within {100 * results.tolerance:g} points of its {words.percent(results.dense.accuracy.mean, 2)} "
               f"accuracy, {config.get('model', 'the network')} on {config.get('data', 'its data')}{plain} ")
    if not best:
        return [(f"{opening}was cut by random controls only: nothing can be said about what can go.", "")]
    parts: list[Part] = [(opening, "")]
    for i, a in enumerate(best):
        parts += [("; it ", "")] * (i > 0) + _clause(a, results)
    return [*parts, (".", "")]


def recovered_parts(results: Results) -> list[Part]:
    """What a recovery after the cut adds; nothing where there is none."""
    parts, before = list[Part](), ""
    for a in answers(results, recovery=True):
        condition = source(a)
        opening = f"{'; with' if parts else 'With'} {condition} it " if condition != before else "; it "
        parts += [(opening, ""), *_clause(a, results)]
        before = condition
    return [*parts, (".", "")] if parts else []


def refusals(results: Results) -> list[str]:
    """Why the best cut of a granularity could not be made, one sentence each."""
    return [f"Cutting {words.noun(granularity)} with recovery was left out: {reason}."
            for granularity, reason in results.run.refused.items()]


def source(a: Answer) -> str:
    """What a recovery takes: samples without labels, or more."""
    cell = a.cell or a.too_much
    seen = max((row.samples_seen for row in cell.rows), default=0) if cell else 0
    if not seen or a.method.needs_labels:
        return f"recovery {a.method.recovery}"
    return f"recovery from {words.count(seen)} unlabelled samples"


def _clause(a: Answer, results: Results) -> list[Part]:
    """What the sentence says of one granularity."""
    role, items = a.method.granularity, f"its {words.noun(a.method.granularity)}"
    if a.cell is None:
        limit = f" (at {words.percent(a.too_much.sparsity)}, {cost_words(a.too_much)})" if a.too_much else ""
        return [("can lose ", ""), (f"no share of {items} on this grid", role), (limit, "")]
    limit = "" if a.too_much else ", the end of the grid"
    return [("can lose ", ""), (f"{words.percent(a.cell.sparsity)} of {items}", role),
            (f"{limit} ({cost_words(a.cell)}{doubt(a.cell, results.tolerance)}), which "
             f"{_size_words(a.cell, results)}{_speed_words(a.method, a.cell, results)}", "")]


def cost_words(cell: Cell) -> str:
    """The loss of accuracy with its interval, in points."""
    cost = cell.cost
    mean = f"{words.points(abs(cost.mean))} points {'lost' if cost.mean >= 0 else 'gained'}"
    if not math.isfinite(cost.low):
        return f"{mean}, no interval from one seed"
    if words.points(cost.low).startswith("−") and cost.high > 0:
        return f"{mean}, 95% interval {words.points(-cost.low)} gained to {words.points(cost.high)} lost"
    low, high = sorted((abs(cost.low), abs(cost.high)))
    return f"{mean}, 95% interval {words.points(low)} to {words.points(high)}"


def doubt(cell: Cell, tolerance: float) -> str:
    """A warning where the interval reaches beyond the tolerance."""
    return ", which reaches beyond the tolerance" if cell.cost.high > tolerance else ""


def _size_words(cell: Cell, results: Results) -> str:
    """What the cut does to the size."""
    new, old = cell.stored, results.dense.bytes
    return (f"shrinks it from {words.with_prefix(old, 'B')} to {words.with_prefix(new, 'B')}" if new < old else
            "leaves its size as it was")


def headline_speeds(method: Method, cell: Cell, results: Results) -> list[tuple[str, Speed]]:
    """The speeds at batches 1 and 64, or else at the two smallest measured, in the way made for the method."""
    return [(b, s) for b in headline_batches(results) if (s := cell.speed(b, method.way))]


def headline_batches(results: Results) -> list[str]:
    """Batches 1 and 64, or else the two smallest measured."""
    return [b for b in ("1", "64") if b in results.batches] or list(results.batches[:2])


def _speed_words(method: Method, cell: Cell, results: Results) -> str:
    """What the cut does to the speed at each batch, as faster, slower or about as fast."""
    groups: dict[str, list[str]] = {}
    for batch, s in headline_speeds(method, cell, results):
        at = groups.setdefault(pace(s.ratio, s.low, s.high), [])
        at.append(f"{in_words(s, not at)} at batch {batch}")
    if not groups:
        return " (speed was not measured)"
    how = " with sparse kernels" if method.way == "sparse" else ""
    paces = [f"{PACES[p]} ({words.join_words(at)})" for p, at in groups.items()]
    return f" and{how} makes it {words.join_words(paces, 'but')}"
