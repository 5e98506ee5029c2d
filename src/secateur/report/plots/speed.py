"""What a cut buys in time: the Pareto front, and from which sparsity on zeros pay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from secateur.core import text
from secateur.measure.speed import Speed, pace
from secateur.report.conclusions import RUN_WITH
from secateur.report.plots.base import Axis, Board, Control, Guide, Plot, Series
from secateur.report.plots.curves import CUT, METRICS, near, tooltip
from secateur.report.plots.palette import role, symbol
from secateur.report.results import Curve, Digest


def variants(curve: Curve) -> list[str]:
    """The ways in which the networks of a method were timed, the one made for them first."""
    found = {v for c in curve.cells for timed in c.speed.values() for v in timed}
    return sorted(found, key=lambda v: (v != RUN_WITH.get(curve.method.granularity, "sparse"), v))


def batch_control(digest: Digest) -> Control:
    """The choice of the batch size."""
    return Control("batch", "batch size", tuple((b, b) for b in digest.batches))


def pareto_board(digest: Digest) -> Board:
    """Accuracy against measured latency, under a choice of batch."""
    return Board("pareto", (batch_control(digest),), ({b: pareto(digest, b) for b in digest.batches},),
                 "Latency is the original network's median over the run, divided by the median ratio that was timed "
                 "in interleaved rounds. The staircase joins what nothing else beats in both accuracy and latency.")


def speedup_board(digest: Digest) -> Board:
    """Speed-up against sparsity, under a choice of batch."""
    return Board("speedup", (batch_control(digest),), ({b: speedup(digest, b) for b in digest.batches},),
                 "Lines are geometric means over the seeds of the median ratio, bands its quartiles. Above the line "
                 "at 1 the cut network is faster than the original.")


def pareto(digest: Digest, batch: str) -> Plot:
    """Every measured way to run every cut network, with the original and the front."""
    bare = digest.plain()
    clouds = [s for curve in digest.methods() for v in variants(curve)[:None if curve in bare else 1]
              if (s := cloud(curve, batch, v)).x]
    original = digest.dense.seconds[batch] * 1e3
    whole = Series("original network", "ink", (original,), (digest.dense.accuracy.mean,), symbol="cross",
                   shape="points", text=(f"original network\naccuracy {text.percent(digest.dense.accuracy.mean, 2)}\n"
                         f"{text.duration(original / 1e3)} at batch {batch}",))
    xy = [p for s in (*clouds, whole) for p in zip(s.x, s.y, strict=True)]
    best = front(xy)
    edge = Series("Pareto front", "front", tuple(x for x, _ in best), tuple(y for _, y in best), dash="dot", symbol="",
                  shape="steps")
    return Plot(f"pareto-batch-{batch}", f"Accuracy against latency, batch {batch}",
                Axis(f"measured latency at batch {batch} (ms)", log=True), METRICS["accuracy"], (edge, *clouds, whole),
                near=near(digest))


def cloud(curve: Curve, batch: str, variant: str) -> Series:
    """The cut networks of one method, run in one way."""
    timed = [(c.speed[batch][variant], c) for c in curve.cells if variant in c.speed.get(batch, {})]
    m, main = curve.method, variant == RUN_WITH.get(curve.method.granularity, "sparse")
    return Series(f"{m.name}, {text.VARIANTS.get(variant, variant)}", role(m.granularity, m.tone),
                  tuple(s.seconds * 1e3 for s, _ in timed), tuple(c.accuracy.mean for _, c in timed),
                  symbol=symbol(m.granularity, m.recovered) if main else "triangle", shape="points",
                  text=tuple(tooltip(curve, c) for _, c in timed))


def front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (latency, accuracy) pairs that no other beats: rising latency, rising accuracy.

    >>> front([(1, 0.5), (2, 0.4), (3, 0.9), (1, 0.6)])
    [(1, 0.6), (3, 0.9)]
    """
    best: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda p: (p[0], -p[1])):
        if not best or y > best[-1][1]:
            best.append((x, y))
    return best


def speedup(digest: Digest, batch: str) -> Plot:
    """How many times faster than the original, with the break-even line; a recovery hardly changes it."""
    drawn = tuple(s for curve in digest.plain() for v in variants(curve) if (s := ratios(curve, batch, v)).x)
    return Plot(f"speedup-batch-{batch}", f"Speed-up against fraction cut, batch {batch}", CUT,
                Axis("speed-up over the original (×)", log=True), drawn, (Guide(1.0, "break-even"),))


def ratios(curve: Curve, batch: str, variant: str) -> Series:
    """One way to run the networks of one method."""
    timed = [(c.speed[batch][variant], c) for c in curve.cells if variant in c.speed.get(batch, {})]
    m, main = curve.method, variant == RUN_WITH.get(curve.method.granularity, "sparse")
    return Series(f"{m.name}, {text.VARIANTS.get(variant, variant)}", role(m.granularity, m.tone),
                  tuple(c.sparsity for _, c in timed), tuple(s.ratio for s, _ in timed),
                  tuple(s.low for s, _ in timed), tuple(s.high for s, _ in timed), "solid" if main else "dot",
                  symbol(m.granularity, m.recovered) if main else "triangle",
                  text=tuple(f"{text.percent(c.sparsity)} of {m.name} cut, {text.VARIANTS.get(variant, variant)}\n"
                             f"{text.times(s.ratio)} the speed at batch {batch} (quartiles {text.times(s.low)} to "
                             f"{text.times(s.high)})\n{text.duration(s.seconds)}" for s, c in timed))


@dataclass(frozen=True)
class BreakEven:
    """Where a cut begins to pay. ``start`` is the smallest sparsity above 0 from which on, up to the
    largest measured, the lower quartile of the speed-up exceeds 1; None where the largest does not pay.
    ``before`` is the measured sparsity just under it, ``some`` are those under it that pay, ``failing`` those
    that do not.
    """

    start: tuple[float, Speed] | None
    before: tuple[float, Speed] | None
    last: tuple[float, Speed]
    some: tuple[float, ...]
    failing: tuple[float, ...]


def break_even(measured: Sequence[tuple[float, Speed]]) -> BreakEven:
    """Find the break-even in (sparsity, speed) pairs, of which at least one sparsity exceeds 0."""
    cut = sorted((p for p in measured if p[0] > 0), key=lambda p: p[0])
    first = len(cut)
    while first and cut[first - 1][1].low > 1:
        first -= 1
    some, failing = (tuple(s for s, speed in cut[:first] if (speed.low > 1) == pays) for pays in (True, False))
    start, before = cut[first] if first < len(cut) else None, cut[first - 1] if first else None
    return BreakEven(start, before, cut[-1], some, failing)


def break_even_words(digest: Digest) -> list[str]:
    """One sentence a granularity and batch: from which sparsity on the cut pays, or that it does not."""
    told = []
    for granularity in digest.granularities:
        for curve in digest.methods(granularity)[:1]:
            told += [said(curve, batch, measured) + engine(curve, batch) for batch in digest.batches
                     if (measured := timed(curve, batch))]
    return told


def engine(curve: Curve, batch: str) -> str:
    """What of the speed is the sparse engine's own, as it runs the uncut network faster than torch; else nothing."""
    whole = next((s for c in curve.cells if c.sparsity == 0 and (s := c.speed.get(batch, {}).get("sparse"))), None)
    if whole is None or pace(whole.ratio) != "faster" or whole.low <= 1:
        return ""
    return (f" With nothing cut the compiled network already runs at {text.times(whole.ratio)} the speed of torch: "
            "that part is the engine's, not the zeros'.")


def timed(curve: Curve, batch: str) -> list[tuple[float, Speed]]:
    """The (sparsity, speed) pairs above sparsity 0, run in the way made for the method."""
    variant = RUN_WITH.get(curve.method.granularity, "sparse")
    return [(c.sparsity, s) for c in curve.cells if c.sparsity > 0 and (s := c.speed.get(batch, {}).get(variant))]


def said(curve: Curve, batch: str, measured: Sequence[tuple[float, Speed]]) -> str:
    """The break-even of one method and batch in words.

    Zeros run through sparse kernels; removed neurons leave a smaller dense network.
    """
    found = break_even(measured)
    what = {"weight": "zeros", "neuron": "removed neurons"}.get(curve.method.granularity, text.noun(
        curve.method.granularity))
    where = f"At batch {batch}, {what}"
    if found.start is None:
        also = f", though they pay at {text.listed([text.percent(s) for s in found.some])}" if found.some else ""
        return (f"{where} do not pay up to {text.percent(found.last[0])}, the largest sparsity measured: "
                f"there the network runs at {text.times(found.last[1].ratio)} the original's speed"
                f"{unsure(found.last[1])}{also}.")
    gains = f"({text.listed([at(p) for p in dict.fromkeys((found.start, max(measured, key=lambda p: p[1].ratio)))])})"
    pays = f"{where} pay from {text.percent(found.start[0])} on"
    if found.before is None:
        return f"{pays}, the smallest sparsity measured {gains}."
    if found.some:
        return f"{pays} {gains}; under that {exceptions(found)}."
    verdict = "they do not" if found.before[1].ratio < 1 else "no gain is sure"
    return f"{pays} {gains}; at {text.percent(found.before[0])} and below {verdict} ({at(found.before)})."


def exceptions(found: BreakEven) -> str:
    """The sparsities under the break-even that pay, or those that do not, whichever are fewer."""
    paying, failing = (text.listed([text.percent(s) for s in group]) for group in (found.some, found.failing))
    return f"only at {paying}" if len(found.some) < len(found.failing) else f"no sure gain at {failing}"


def at(point: tuple[float, Speed]) -> str:
    """A speed-up and where it is."""
    return f"{text.times(point[1].ratio)} at {text.percent(point[0])}"


def unsure(speed: Speed) -> str:
    """Why a ratio above 1 is no gain: its lower quartile is not above 1."""
    return f", no sure gain with a lower quartile of {text.times(speed.low)}" if speed.ratio > 1 else ""
