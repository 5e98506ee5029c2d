"""What a cut buys in time: the Pareto front, and from which sparsity on zeros pay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from secateur.core import text
from secateur.measure.speed import Speed
from secateur.report.plots.base import KEPT, Axis, Board, Guide, Plot, Series
from secateur.report.plots.curves import METRICS, batch_control, near, tooltip, uncut
from secateur.report.plots.palette import role, symbol
from secateur.report.results import Cell, Curve, Results


def pareto_board(results: Results) -> Board:
    """Accuracy against measured latency, under a choice of batch."""
    return Board("pareto", (batch_control(results),), ({b: pareto(results, b) for b in results.batches},),
                 "Latency is the original network's median over the run, divided by the median ratio that was timed "
                 "in interleaved rounds. The staircase joins the networks for which no other is both more accurate "
                 "and faster.")


def speedup_board(results: Results) -> Board:
    """Speed-up against sparsity, under a choice of batch."""
    return Board("speedup", (batch_control(results),), ({b: speedup(results, b) for b in results.batches},),
                 "Lines are geometric means over the seeds of the median ratio, bands its quartiles. Above the line "
                 "at 1 the cut network is faster than the original.")


def pareto(results: Results, batch: str) -> Plot:
    """Every measured way to run every cut network, with the original and the front."""
    plain = results.plain()
    drawn = [(curve, way) for curve in results.methods() for way in _ways(curve)[:None if curve in plain else 1]]
    clouds = [s for curve, way in drawn if (s := _cloud(curve, batch, way)).x]
    timed = [(s, s.seconds * 1e3, c.accuracy.mean) for curve, way in drawn for c, s in _timed_cells(curve, batch, way)]
    seconds, accuracy = results.dense.seconds[batch], results.dense.accuracy.mean
    original = Series("original network", "ink", (seconds * 1e3,), (accuracy,), symbol="cross", shape="points",
                      text=(f"original network\naccuracy {text.percent(accuracy, 2)}\n{text.duration(seconds)} at "
                            f"batch {batch}",))
    alone = [mark for mark in uncut(results, "accuracy", f"latency-{batch}") if mark.name != "uncut float32"]
    timed += [(found, found.seconds * 1e3, one.cell.accuracy.mean) for one in results.quantized
              if (found := one.cell.speed(batch, one.method.way))]
    best = front([*((x, y) for s, x, y in timed if not s.noise), (seconds * 1e3, accuracy)])
    edge = Series("Pareto front", "front", tuple(x for x, _ in best), tuple(y for _, y in best), dash="dot", symbol="",
                  shape="steps")
    return Plot(f"Accuracy against latency, batch {batch}", Axis(f"measured latency at batch {batch} (ms)", log=True),
                METRICS["accuracy"], (edge, *clouds, original, *alone, *_noisy(timed)), near=near(results))


def _noisy(timed: Iterable[tuple[Speed, float, float]]) -> tuple[Series, ...]:
    """A cross over every point whose timing is noisy; no series where none is."""
    marked = [(x, y, f"noisy: {speed.noise}") for speed, x, y in timed if speed.noise]
    if not marked:
        return ()
    x, y, told = zip(*marked, strict=True)
    return (Series("noisy timing, not to be relied on", "ink", x, y, symbol="cross", shape="points", text=told),)


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


def speedup(results: Results, batch: str) -> Plot:
    """How many times faster than the original. Methods with a recovery are left out: it hardly changes the speed."""
    drawn = [(curve, way) for curve in results.plain() for way in _ways(curve)]
    lines = tuple(s for curve, way in drawn if (s := _ratios(curve, batch, way)).x)
    timed = [(s, 1 - c.sparsity, s.ratio) for curve, way in drawn for c, s in _timed_cells(curve, batch, way)]
    axis, even = Axis("speed-up over the original (×)", log=True), Guide(1.0, "as fast as the original")
    return Plot(f"Speed-up against fraction kept, batch {batch}", KEPT, axis, (*lines, *_noisy(timed)), (even,))


def _ways(curve: Curve) -> list[str]:
    """The ways in which the networks of a method were timed, the one made for them first."""
    names = {way for c in curve.cells for ways in c.speeds.values() for way in ways}
    return sorted(names, key=lambda way: (way != curve.method.way, way))


def _timed_cells(curve: Curve, batch: str, way: str) -> list[tuple[Cell, Speed]]:
    return [(c, s) for c in curve.cells if c.sparsity < 1 and (s := c.speed(batch, way))]


def _look(curve: Curve, way: str) -> tuple[str, str, str]:
    """Name, colour and marker of the networks of a method, run in one way."""
    m = curve.method
    return (f"{m.name}, {text.VARIANTS.get(way, way)}", role(m.granularity, m.tone),
            symbol(m.granularity, m.has_recovery) if way == m.way else "triangle")


def _cloud(curve: Curve, batch: str, way: str) -> Series:
    """The cut networks of one method, run in one way."""
    points, (name, colour, marker) = _timed_cells(curve, batch, way), _look(curve, way)
    return Series(name, colour, tuple(s.seconds * 1e3 for _, s in points), tuple(c.accuracy.mean for c, _ in points),
                  symbol=marker, shape="points", text=tuple(tooltip(curve, c) for c, _ in points),
                  at=tuple(c.sparsity for c, _ in points), group=curve.method.granularity)


def _ratios(curve: Curve, batch: str, way: str) -> Series:
    """The speed-ups of one method's networks, run in one way."""
    points, (name, colour, marker) = _timed_cells(curve, batch, way), _look(curve, way)
    return Series(name, colour, tuple(1 - c.sparsity for c, _ in points), tuple(s.ratio for _, s in points),
                  tuple(s.low for _, s in points), tuple(s.high for _, s in points),
                  "solid" if way == curve.method.way else "dot", marker,
                  text=tuple(f"{name}: {text.percent(1 - c.sparsity)} kept\n"
                             f"{s.shown} the speed at batch {batch} (quartiles {text.times(s.low)} to "
                             f"{text.times(s.high)})\n{text.duration(s.seconds)}{_doubt(s)}" for c, s in points),
                  at=tuple(c.sparsity for c, _ in points), group=curve.method.granularity)


def _doubt(speed: Speed) -> str:
    """A line of a tooltip that says why a timing is noisy; empty where it is not."""
    return f"\nnoisy: {speed.noise}" if speed.noise else ""


@dataclass(frozen=True)
class BreakEven:
    """Where a cut begins to pay. ``start`` is the smallest sparsity above 0 from which on, up to the
    largest measured, the network is faster beyond the spread of the timings; None where the largest does not pay.
    ``before`` is the measured sparsity just under it. A gain at a single smaller sparsity is noise, and not told.
    """

    start: tuple[float, Speed] | None
    before: tuple[float, Speed] | None
    last: tuple[float, Speed]


def break_even(points: Sequence[tuple[float, Speed]], own: float = 0.0) -> BreakEven:
    """Find the break-even in (sparsity, speed) pairs, of which at least one sparsity exceeds 0.

    ``own`` is the speed that the engine has with nothing cut: what is no faster than that is no gain of the cut.
    """
    cut = sorted((p for p in points if p[0] > 0), key=lambda p: p[0])
    first = len(cut)
    while first and _pays(cut[first - 1][1]) and cut[first - 1][1].low > own:
        first -= 1
    return BreakEven(cut[first] if first < len(cut) else None, cut[first - 1] if first else None, cut[-1])


def _pays(speed: Speed) -> bool:
    """Whether a network is faster than the original by more than the margin and the spread of its timings."""
    return speed.pace == "faster"


def break_even_sentences(results: Results) -> list[tuple[str, str]]:
    """A batch and a sentence for each granularity: from which sparsity on the cut pays, or that it does not."""
    sentences = []
    for granularity in results.granularities:
        for curve in results.methods(granularity)[:1]:
            for batch in results.batches:
                cut = [(c.sparsity, s) for c, s in _timed_cells(curve, batch, curve.method.way) if c.sparsity > 0]
                if points := [(sparsity, s) for sparsity, s in cut if not s.noise]:
                    told = (break_even_sentence(curve, batch, points) + engine_sentence(curve, batch)
                            + _left_out(len(cut) - len(points), len(cut)))
                    sentences.append((batch, told))
                elif cut:
                    sentences.append((batch, f"At batch {batch}, whether cutting {text.noun(granularity)} pays is not "
                                             f"known: {cut[0][1].noise}."))
    return sentences


def _left_out(noisy: int, count: int) -> str:
    """How many timings a sentence does not speak of; empty for none."""
    return f" {noisy} of {count} sparsities are left out, because their timings are noisy." if noisy else ""


def _engine_alone(curve: Curve, batch: str) -> Speed | None:
    """The speed of the uncut network in the engine for zeros, where that is faster than torch; else None."""
    whole = next((s for c, s in _timed_cells(curve, batch, "sparse") if c.sparsity == 0), None)
    return whole if whole is not None and whole.pace == "faster" else None


def engine_sentence(curve: Curve, batch: str) -> str:
    """How much of the speed is the engine's own, where it runs even the uncut network faster than torch; else empty."""
    whole = _engine_alone(curve, batch)
    if whole is None:
        return ""
    return (f" With nothing removed, the compiled network already runs at {text.times(whole.ratio)} the speed of "
            "torch; that gain comes from the engine, not from the zeros.")


def break_even_sentence(curve: Curve, batch: str, points: Sequence[tuple[float, Speed]]) -> str:
    """The break-even of one method and batch in words."""
    whole, granularity = _engine_alone(curve, batch), curve.method.granularity
    result = break_even(points, whole.high if whole else 0.0)
    items = {"weight": "zeros", "neuron": "removed neurons"}.get(granularity, text.noun(granularity))
    where = f"At batch {batch}, {items}"
    if result.start is None:
        return f"{where} do not pay {_no_gain(result)}."
    fastest = max(points, key=lambda p: p[1].ratio)
    gains = f"({text.join_words([_gain(p) for p in dict.fromkeys((result.start, fastest))])})"
    pays = f"{where} pay from {text.percent(result.start[0])} on"
    if result.before is None:
        return f"{pays}, the smallest sparsity measured {gains}."
    verdict = "they do not" if result.before[1].high < 1 else "no gain is sure"
    return f"{pays} {gains}; at {text.percent(result.before[0])} {verdict} ({_gain(result.before)})."


def _no_gain(result: BreakEven) -> str:
    """How fast the network is at the largest sparsity, which does not pay."""
    sparsity, speed = result.last
    # A median ratio above 1 is no gain while its lower quartile is not.
    unsure = f", which is no sure gain: its lower quartile is {text.times(speed.low)}" if speed.ratio > 1 else ""
    return (f"up to {text.percent(sparsity)}, the largest sparsity measured: there the network runs at "
            f"{text.times(speed.ratio)} the original's speed{unsure}")


def _gain(point: tuple[float, Speed]) -> str:
    """A speed-up and its sparsity."""
    return f"{text.times(point[1].ratio)} at {text.percent(point[0])}"
