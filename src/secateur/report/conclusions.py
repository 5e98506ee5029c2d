"""The sentence on top: how much can go within the tolerance, and what it buys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from secateur.core import text as words
from secateur.measure.speed import PACES, Speed, in_words, pace
from secateur.pruning.criteria.base import as_criterion
from secateur.pruning.signals.base import SOURCES
from secateur.recovery.pipeline import recoveries
from secateur.report.results import Cell, Curve, Digest, Method

RUN_WITH = {"weight": "sparse", "neuron": "small"}
HEADLINE_BATCHES = ("1", "64")


@dataclass(frozen=True)
class Answer:
    """What one granularity can lose.

    ``cell`` is the largest sparsity of the grid at which the mean loss of accuracy lies within the
    tolerance there and at every smaller sparsity of the grid; None where even the smallest is too much.
    ``refused`` is the next sparsity, which is too much; None where the grid ends first.
    """

    method: Method
    cell: Cell | None
    refused: Cell | None


def answer(curve: Curve, tolerance: float) -> Answer:
    """The answer of one method."""
    best, refused = None, None
    for cell in (c for c in curve.cells if c.removed > 0):
        if not within(cell, tolerance):
            refused = cell
            break
        best = cell
    return Answer(curve.method, best, refused)


def within(cell: Cell, tolerance: float) -> bool:
    """Whether the mean loss of accuracy is within the tolerance (up to rounding of the last bit)."""
    return cell.cost.mean <= tolerance + 1e-12


def answers(digest: Digest) -> list[Answer]:
    """One answer a granularity: of its methods without recovery the one that can cut most, then costs least."""
    return [most([answer(c, digest.tolerance) for c in found]) for g in digest.granularities
            if (found := digest.plain(g))]


def recovered(digest: Digest) -> list[Answer]:
    """The same of the methods with a recovery, where they stand beside others without."""
    return [most([answer(c, digest.tolerance) for c in found]) for g in digest.granularities
            if (found := digest.recovered(g))]


def both(digest: Digest) -> list[Answer]:
    """The answers and those with a recovery, a granularity after the other."""
    found = [*answers(digest), *recovered(digest)]
    return [a for g in digest.granularities for a in found if a.method.granularity == g]


def most(found: Sequence[Answer]) -> Answer:
    """The answer that can cut most, then costs least."""
    return max(found, key=lambda a: (a.cell.sparsity, -a.cell.cost.mean) if a.cell else (-1.0, 0.0))


Part = tuple[str, str]


def sentence(digest: Digest) -> str:
    """The sentence as plain text, with a second one of what recovery adds."""
    found = (sentence_parts(digest), recovered_parts(digest))
    return " ".join("".join(text for text, _ in parts) for parts in found if parts)


def sentence_parts(digest: Digest) -> list[Part]:
    """The sentence as (text, colour role) pieces; the role is empty for plain text."""
    found = answers(digest)
    config = digest.run.config
    plain = ", with nothing done after the cut," if recovered(digest) else ""
    opening = (f"Within {100 * digest.tolerance:g} points of its {words.percent(digest.dense.accuracy.mean, 2)} "
               f"accuracy, {config.get('model', 'the network')} on {config.get('data', 'its data')}{plain} ")
    if not found:
        return [(f"{opening}was cut by random controls only: nothing can be said about what can go.", "")]
    parts: list[Part] = [(opening, "")]
    for i, a in enumerate(found):
        parts += [("; ", "")] * (i > 0) + clause(a, digest, first=i == 0)
    return [*parts, (".", "")]


def recovered_parts(digest: Digest) -> list[Part]:
    """What a recovery after the cut adds, as (text, colour role) pieces; nothing where there is none."""
    found, parts, before = recovered(digest), list[Part](), ""
    for i, a in enumerate(found):
        given = source(a)
        parts += [("; ", "")] * (i > 0)
        parts += [(f"{'with' if i else 'With'} {given} ", "")] if given != before else []
        parts += clause(a, digest, first=False)
        before = given
    return [*parts, (".", "")] if parts else []


def source(a: Answer) -> str:
    """What a recovery takes: samples without labels, or more."""
    cell = a.cell or a.refused
    seen = max((p.get("samples_seen", 0) for p in cell.points), default=0) if cell else 0
    needs = {need for item in recoveries(a.method.recovery) for need in item.needs}
    needs |= {s for need in as_criterion(a.method.criterion)[1].needs for s in SOURCES[need]}
    if not seen or "labels" in needs:
        return f"recovery {a.method.recovery}"
    return f"recovery from {words.count(seen)} unlabelled samples"


def clause(a: Answer, digest: Digest, first: bool) -> list[Part]:
    """What the sentence says of one granularity."""
    named, what = a.method.granularity, f"its {words.noun(a.method.granularity)}"
    if a.cell is None:
        return [("can lose " if first else "it can lose ", ""), (f"no share of {what} on this grid", named),
                (f" (at {words.percent(a.refused.sparsity)}, {cost_words(a.refused)})" if a.refused else "", "")]
    limit = "" if a.refused else ", the end of the grid"
    return [("can lose " if first else "it can lose ", ""), (f"{words.percent(a.cell.sparsity)} of {what}", named),
            (f"{limit} ({cost_words(a.cell)}{doubt(a.cell, digest.tolerance)}), which {size_words(a, digest)}"
             f"{speed_clause(a, digest)}", "")]


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


def over_words(cell: Cell) -> str:
    """What the interval is drawn over, as a note."""
    return f" over {words.listed(cell.cost.over)}" if cell.cost.over else ""


def doubt(cell: Cell, tolerance: float) -> str:
    """A warning where the interval reaches beyond the tolerance."""
    return ", which reaches beyond the tolerance" if cell.cost.high > tolerance else ""


def stored(a: Answer) -> float:
    """The bytes in which the cut network is stored."""
    assert a.cell is not None
    return a.cell.stored


def size_words(a: Answer, digest: Digest) -> str:
    """What the cut does to the size."""
    new, old = stored(a), digest.dense.bytes
    verb = "shrinks it" if new < old else "leaves its size"
    return f"{verb} from {words.scaled(old, 'B')} to {words.scaled(new, 'B')}" if new < old else verb + " as it was"


def speed_of(a: Answer, batch: str) -> Speed | None:
    """The speed at which the cut network runs at a batch, in the way made for it."""
    assert a.cell is not None
    return a.cell.speed.get(batch, {}).get(RUN_WITH.get(a.method.granularity, "sparse"))


def headline_batches(digest: Digest) -> list[str]:
    """Batches 1 and 64, or else the two smallest measured."""
    return [b for b in HEADLINE_BATCHES if b in digest.batches] or list(digest.batches[:2])


def speed_clause(a: Answer, digest: Digest) -> str:
    """What the cut does to the speed, honest where it makes the network slower."""
    measured = [(b, s) for b in headline_batches(digest) if (s := speed_of(a, b))]
    if not measured:
        return " (speed was not measured)"
    groups: dict[str, list[str]] = {}
    for batch, s in measured:
        at = groups.setdefault(pace(s.ratio), [])
        at.append(f"{in_words(s, not at)} at batch {batch}")
    how = " with sparse kernels" if RUN_WITH.get(a.method.granularity, "sparse") == "sparse" else ""
    return f" and{how} makes it {words.listed([f'{PACES[p]} ({words.listed(at)})' for p, at in groups.items()], 'but')}"
