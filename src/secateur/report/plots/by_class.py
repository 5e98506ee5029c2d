"""Who is harmed: the accuracy of each class before and after a cut, the classes that lose most first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.core import text
from secateur.report.gather import correctness
from secateur.report.plots.base import Axis, Board, Control, Plot, Series
from secateur.report.plots.palette import role, symbol
from secateur.report.results import Cell, Curve, Results
from secateur.report.statistics import Interval, loss_of_accuracy, sign_test

MOST, MOST_ROWS = 20, 100
"""Classes that a figure and a table show, those that lose most."""
_CHANCE = 0.05
"""A loss is told where chance alone would give one as clear to any of the classes less often than this."""


@dataclass(frozen=True)
class ClassLoss:
    """What a cut does to one class: its accuracy before and after, the loss with its interval, and whether the loss is
    more than chance explains.
    """

    name: int
    tests: int
    before: float
    after: float
    lost: Interval
    clear: bool


def losses(results: Results, cell: Cell) -> list[ClassLoss]:
    """Every class of the test samples, those that lose most first; none where classes or answers were not kept."""
    labels, whole = results.run.labels, results.uncut_rows
    after, before = correctness(cell.rows), correctness([whole.get(r.seed) for r in cell.rows])
    if labels is None or after is None or before is None or len(labels) != after.shape[1]:
        return []
    names, is_uncut = np.unique(labels), all(row.is_uncut for row in cell.rows)
    found = [_loss(int(n), before[:, labels == n], after[:, labels == n], len(names), is_uncut) for n in names]
    return sorted(found, key=lambda c: (-c.lost.mean, c.name))


def _loss(name: int, before: NDArray[np.float64], after: NDArray[np.float64], classes: int,
          is_uncut: bool) -> ClassLoss:
    """One class, from the correctness of its test samples, ``(seeds, samples)``.

    Whether the loss is clear is asked of the samples: the sign test over those whose answers, averaged over the seeds,
    became worse or better, with Bonferroni's correction for the number of classes.
    """
    change = (before - after).mean(axis=0)
    worse, better = int((change > 0).sum()), int((change < 0).sum())
    clear = worse > better and classes * _chance(worse, better) < _CHANCE
    lost = loss_of_accuracy(before.mean(axis=1).tolist(), after.mean(axis=1).tolist(), before, after,
                            is_uncut=is_uncut)
    return ClassLoss(name, before.shape[1], float(before.mean()), float(after.mean()), lost, clear)


@cache
def _chance(worse: int, better: int) -> float:
    """The sign test, which many classes ask with the same counts."""
    return sign_test(worse, better)


Found = list[tuple[Curve, list[ClassLoss]]]
"""Of each granularity, at one sparsity, the method that is shown and its classes; none where they are not known."""


def collect(results: Results) -> list[Found]:
    """The classes at each place of the page's slider; empty where the run does not hold them."""
    places = [[(curve, by) for curve, cell in results.cells_at(s) if (by := losses(results, cell))]
              for s in results.keeps]
    return places if any(places) else []


def board(results: Results, places: Sequence[Found]) -> Board:
    """The accuracies of the classes, a frame for each place of the slider."""
    options = tuple((str(i), text.percent(1 - s)) for i, s in enumerate(results.keeps))
    frames = {str(i): plot(found, s) for i, (found, s) in enumerate(zip(places, results.keeps, strict=True))}
    few = f" Only the {MOST} classes that lose most accuracy are drawn." if any(
        len(p.y.names) == MOST for p in frames.values()) else ""
    return Board("classes", (Control("keep", "keep", options),), (frames,), "Means over the seeds; the classes that "
                                                                            f"lose most accuracy are on top.{few}")


def plot(found: Found, sparsity: float) -> Plot:
    """The accuracy of each class before the cut and after it."""
    order = _order([by for _, by in found])[:MOST]
    series = [_points(curve, by, order) for curve, by in found]
    if found:
        before = {c.name: c.before for c in found[0][1]}
        series.insert(0, Series("before", "ink", tuple(before[n] for n in order), tuple(map(float, range(len(order)))),
                                symbol="cross", shape="points",
                                text=tuple(f"class {n} before: {text.percent(before[n], 2)}" for n in order)))
    return Plot(f"Accuracy of each class, {text.percent(1 - sparsity)} kept", Axis("test accuracy", percent=True),
                Axis("class", falls=True, names=tuple(map(str, order))), tuple(series))


def _order(by_method: Sequence[Sequence[ClassLoss]]) -> list[int]:
    """The classes by their greatest loss under any method."""
    worst: dict[int, float] = {}
    for c in (c for by in by_method for c in by):
        worst[c.name] = max(worst.get(c.name, -1.0), c.lost.mean)
    return sorted(worst, key=lambda n: (-worst[n], n))


def _points(curve: Curve, by: Sequence[ClassLoss], order: Sequence[int]) -> Series:
    """The accuracy of each class after the cut."""
    m, found = curve.method, {c.name: c for c in by}
    tips = tuple(f"class {n}, {m.name}: {text.percent(found[n].after, 2)}\n{text.points(found[n].lost.mean)} points "
                 f"lost of {text.percent(found[n].before, 2)}, {found[n].tests:,} test samples" for n in order)
    return Series(m.name, role(m.granularity, m.tone), tuple(found[n].after for n in order),
                  tuple(map(float, range(len(order)))), symbol=symbol(m.granularity, m.has_recovery), shape="points",
                  text=tips, group=m.granularity)


def tables(results: Results, places: Sequence[Found]) -> list[dict[str, Any]]:
    """A record a granularity for the page: for each place the sentence and the rows of the classes, or None."""
    return [{"items": text.noun(g), "sparsities": [
        next((_record(curve, s, by) for curve, by in found if curve.method.granularity == g), None)
        for found, s in zip(places, results.keeps, strict=True)]} for g in results.granularities] if places else []


def _record(curve: Curve, sparsity: float, by: Sequence[ClassLoss]) -> dict[str, Any]:
    """One sparsity of one granularity."""
    return {"sentence": sentence(curve, sparsity, by),
            "rows": [[str(c.name), text.count(c.tests), text.percent(c.before), text.percent(c.after),
                      text.points(c.lost.mean), _interval(c.lost), "yes" if c.clear else "no"] for c in by[:MOST_ROWS]]}


def _interval(lost: Interval) -> str:
    return f"{text.points(lost.low)} to {text.points(lost.high)}" if np.isfinite(lost.low) else "–"


def sentence(curve: Curve, sparsity: float, by: Sequence[ClassLoss]) -> str:
    """Which class loses most, told only of classes that lose more than chance explains."""
    clear = [c for c in by if c.clear]
    opening = f"With {text.percent(1 - sparsity)} kept ({curve.method.name}), "
    if not clear:
        return f"{opening}no class loses more accuracy than chance explains."
    first = clear[0]
    more = [str(c.name) for c in clear[1:]]
    rest = f" Class{'es' * (len(more) > 1)} {text.join_words(more)} also lose{'s' * (len(more) == 1)}." if more else ""
    return (f"{opening}class {first.name} loses most accuracy: from {text.percent(first.before)} to "
            f"{text.percent(first.after)} "
            f"({text.points(first.lost.mean)} points).{rest}")
