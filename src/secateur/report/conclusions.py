"""What can go within the tolerance, how sure that is, and what it buys: as values, and its parts in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from secateur.core import text as words
from secateur.measure.speed import Speed
from secateur.report.results import Cell, Curve, Method, Quantized, Results, is_within
from secateur.report.statistics import Interval


@dataclass(frozen=True)
class Answer:
    """What one granularity can lose.

    ``cell`` is the largest sparsity of the grid at which the mean loss of accuracy lies within the tolerance there and
    at every smaller sparsity of the grid; None where even the smallest is too much. ``sure`` is the same of the upper
    end of the loss's interval. ``too_much`` is the sparsity after ``cell``; None where the grid ends first. ``cells``
    are all the method's. ``tolerance`` is the accuracy that may be lost, as a fraction.
    """

    method: Method
    cell: Cell | None
    sure: Cell | None
    too_much: Cell | None
    cells: tuple[Cell, ...]
    tolerance: float

    @property
    def is_sure(self) -> bool:
        """Whether the upper end of the interval at ``cell``, too, lies within the tolerance."""
        return self.cell is not None and self.cell is self.sure


@dataclass(frozen=True)
class AnswerRow:
    """One row of the table of answers; where nothing can go, all but the first two are empty.

    Attributes:
        method: how it is cut.
        recovery: what is done after the cut, in words; empty for nothing.
        sparsity: the fraction that can go.
        is_sure: whether the upper end of the loss's interval lies within the tolerance.
        accuracy: after the cut, with its 95 % interval, as fractions; not a number without an interval.
        bytes: of the file.
        size: the same as a fraction of the uncut network's.
        speeds: by batch size, in the way made for the method.
    """

    method: Method
    recovery: str
    sparsity: float | None = None
    is_sure: bool = False
    accuracy: Interval | None = None
    bytes: float | None = None
    size: float | None = None
    speeds: tuple[tuple[str, Speed], ...] = ()


def answer(curve: Curve, tolerance: float) -> Answer:
    """The answer of one method."""
    cut = [cell for cell in curve.cells if cell.removed > 0]
    within = _count_within([cell.cost.mean for cell in cut], tolerance)
    sure = _count_within([cell.cost.high for cell in cut], tolerance)
    return Answer(curve.method, cut[within - 1] if within else None, cut[sure - 1] if sure else None,
                  cut[within] if within < len(cut) else None, curve.cells,
                  tolerance)


def _count_within(losses: list[float], tolerance: float) -> int:
    """How many losses lie within the tolerance before the first that does not; what is not a number does not."""
    return next((i for i, loss in enumerate(losses) if not is_within(loss, tolerance)), len(losses))


def answers(results: Results, recovery: bool = False) -> list[Answer]:
    """One answer for each granularity in each number of bits: its best method without recovery, which can cut most,
    then costs least.

    With ``recovery`` the same for the methods with one, where a granularity has methods without one too.
    """
    curves_of = results.with_recovery if recovery else results.plain
    return [max((answer(c, results.tolerance) for c in curves),
                key=lambda a: (a.cell.sparsity, -a.cell.cost.mean) if a.cell else (-1.0, 0.0))
            for g in results.granularities for bits in results.bits_of(g)
            if (curves := [c for c in curves_of(g) if c.method.bits == bits])]


def all_answers(results: Results) -> list[Answer]:
    """The answers without and with a recovery, ordered by granularity."""
    both = [*answers(results), *answers(results, recovery=True)]
    return [a for g in results.granularities for a in both if a.method.granularity == g]


def answer_rows(results: Results) -> list[AnswerRow]:
    """The rows of the table of answers: every granularity, plain and recovered; four in a study of the defaults."""
    return [_answer_row(a, results) for a in all_answers(results)]


def rival_row(results: Results) -> AnswerRow | None:
    """The row of the best uncut network in fewer bits, with which every cut is compared; None where there is none."""
    if (rival := results.rival) is None:
        return None
    cell, method = rival.cell, rival.method
    return AnswerRow(method, "", 0.0, is_within(cell.cost.high, results.tolerance), accuracy_of(cell, results),
                     cell.stored, cell.stored / results.dense.bytes, tuple(headline_speeds(method, cell, results)))


def accuracy_of(cell: Cell, results: Results) -> Interval:
    """The accuracy of a cell with the interval of its loss."""
    whole, cost = results.dense.accuracy.mean, cell.cost
    return Interval(cell.accuracy.mean, whole - cost.high, whole - cost.low, cost.over)


def _answer_row(a: Answer, results: Results) -> AnswerRow:
    """One row."""
    recovery = source(a) if a.method.has_recovery else ""
    if (cell := a.cell) is None:
        return AnswerRow(a.method, recovery)
    return AnswerRow(a.method, recovery, cell.sparsity, a.is_sure, accuracy_of(cell, results), cell.stored,
                     cell.stored / results.dense.bytes, tuple(headline_speeds(a.method, cell, results)))


def refusals(results: Results) -> list[str]:
    """Why the best cut of a granularity, or the uncut network in fewer bits, could not be made, one sentence each."""
    return [*(f"Cutting {words.noun(granularity)} with recovery was left out: {reason}."
              for granularity, reason in results.run.refused.items()),
            *(f"The uncut network in {words.bits_name(bits)} was left out: {reason}."
              for bits, reason in results.run.not_quantized.items())]


def alone_words(one: Quantized, results: Results) -> str:
    """What the uncut network in fewer bits costs and takes, in a sentence."""
    share = size_words(one.cell.stored, results)
    return f"{one.name}, with nothing cut: {share} of the bytes, {cost_words(one.cell)}."


def size_words(stored: float, results: Results) -> str:
    """Bytes as a percentage of those of the uncut network in float32."""
    share = stored / results.dense.bytes
    return words.percent(share, 0 if share > 0.1 else 1)


def source(a: Answer) -> str:
    """What a recovery takes: samples without labels, or more."""
    cell = a.cell or a.too_much
    seen = max((row.samples_seen for row in cell.rows), default=0) if cell else 0
    if not seen or a.method.needs_labels:
        return f"recovery {a.method.recovery}"
    return f"recovery from {words.count(seen)} unlabelled samples"


def cost_words(cell: Cell) -> str:
    """The loss of accuracy with its interval, in points."""
    cost = cell.cost
    mean = f"{words.points(abs(cost.mean))} points {'lost' if cost.mean >= 0 else 'gained'}"
    return f"{mean}, {interval_words(cost) if math.isfinite(cost.low) else 'no interval from one seed'}"


def interval_words(cost: Interval) -> str:
    """The interval of a loss of accuracy, in points; both ends without a sign where they are of one kind."""
    if words.points(cost.low).startswith("−") and cost.high > 0:
        return f"95% interval {words.points(-cost.low)} gained to {words.points(cost.high)} lost"
    low, high = sorted((abs(cost.low), abs(cost.high)))
    return f"95% interval {words.points(low)} to {words.points(high)}"


def headline_speeds(method: Method, cell: Cell, results: Results) -> list[tuple[str, Speed]]:
    """The speeds at batches 1 and 64, or else at the two smallest measured, in the way made for the method."""
    batches = [b for b in ("1", "64") if b in results.batches] or results.batches[:2]
    return [(b, s) for b in batches if (s := cell.speed(b, method.way))]
