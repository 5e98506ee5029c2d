"""Accuracy and loss against what is kept, counted in several ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from secateur.core import text
from secateur.report.conclusions import cost_words
from secateur.report.plots.base import KEPT, Axis, Board, Control, Guide, Plot, Series
from secateur.report.plots.palette import TONES, UNCUT_SYMBOLS, role, symbol
from secateur.report.results import Cell, Curve, Results

METRICS = {"accuracy": Axis("test accuracy", percent=True), "loss": Axis("test loss (cross-entropy, nats)", log=True)}
X = Callable[[Curve, Cell], float | None]


def x_choices(results: Results) -> dict[str, tuple[str, Axis, X]]:
    """What the x axis can show: value → (label, axis, function of curve and cell)."""
    choices: dict[str, tuple[str, Axis, X]] = {
        # What keeps nothing has no place on a logarithmic axis.
        "kept": ("fraction kept", KEPT, lambda _, cell: kept if (kept := 1 - cell.sparsity) > 0 else None),
        "bytes": ("bytes of the file", Axis("bytes of the file", log=True), lambda _, cell: cell.stored),
        "parameters": ("parameters left", Axis("parameters that are not zero", log=True),
                       lambda _, cell: cell.nonzeros),
        "flops": ("zero-aware FLOPs", Axis("FLOPs of one example, zeros not counted", log=True),
                  lambda _, cell: cell.flops_nonzero)}
    for batch in results.batches:
        axis = Axis(f"measured latency at batch {batch} (ms)", log=True)
        choices[f"latency-{batch}"] = (f"latency at batch {batch}", axis, _milliseconds(batch))
    return choices


def batch_control(results: Results) -> Control:
    """The batch size, one choice for all figures."""
    return Control("batch", "measured at", tuple((b, f"batch {b}") for b in results.batches))


def _milliseconds(batch: str) -> X:
    """The latency at a batch, in the way made for the method."""
    return lambda curve, cell: s.seconds * 1e3 if (s := cell.speed(batch, curve.method.way)) else None


def board(results: Results) -> Board:
    """Accuracy and loss under a choice of x axis; latency is that of the page's batch."""
    kinds = {"kept": "fraction kept", "bytes": "bytes", "parameters": "parameters left", "flops": "zero-aware FLOPs",
             **({"latency": "latency"} if results.batches else {})}
    batches = results.batches or ("",)
    controls = (Control("x", "x axis", tuple(kinds.items())), batch_control(results))[:2 if results.batches else 1]
    frames = tuple({f"{x}|{b}" if b else x: plot(results, metric, f"latency-{b}" if x == "latency" else x)
                    for x in kinds for b in batches} for metric in METRICS)
    key_to_markers = " Stars and diamonds are networks after a recovery." if results.with_recovery() else ""
    key_to_markers += " Dotted lines are networks in fewer bits." if _has_bits(results) else ""
    return Board("curves", controls, frames, "Lines are means over the seeds, bands run from the lowest to the "
                 f"highest seed. Dashed lines are controls, which remove at random.{key_to_markers}")


def first_board(results: Results) -> Board:
    """The figure of the first screen: accuracy near the original's against what a network takes, without controls."""
    kinds = {"bytes": "bytes", **({"latency": "milliseconds"} if results.batches else {}), "kept": "fraction kept"}
    batches = results.batches or ("",)
    controls = (Control("against", "against", tuple(kinds.items())), batch_control(results))
    frame = {f"{x}|{b}" if b else x: first_plot(results, f"latency-{b}" if x == "latency" else x)
             for x in kinds for b in batches}
    notes = ["Dotted lines are networks in fewer bits."] * _has_bits(results)
    notes += ["Networks in fewer bits were not timed."] * (bool(results.batches) and results.has_untimed_bits)
    return Board("first", controls[:2 if results.batches else 1], (frame,), " ".join(notes))


def first_plot(results: Results, x: str) -> Plot:
    """One frame of the figure of the first screen."""
    whole, label = plot(results, "accuracy", x), x_choices(results)[x][0]
    controls = {c.method.name for c in results.methods(controls=True) if c.method.control}
    return replace(whole, title=f"Accuracy against {'the ' * (x in ('kept', 'bytes'))}{label}",
                   series=tuple(s for s in whole.series if s.name not in controls))


def _has_bits(results: Results) -> bool:
    """Whether networks in fewer bits were cut."""
    return any(c.method.bits != 32 for c in results.methods())


def shows(results: Results) -> tuple[tuple[str, str], ...]:
    """All granularities overlaid, then each alone where there are several."""
    each = tuple((g, f"{text.noun(g)} alone") for g in results.granularities)
    return (("all", "overlaid"), *each) if len(each) > 1 else (("all", each[0][1]),)


def plot(results: Results, metric: str, x: str = "kept", show: str = "all") -> Plot:
    """One metric against one way to count what is left."""
    label, axis, value = x_choices(results)[x]
    curves = results.methods(None if show == "all" else show, controls=True)
    lines = (*(s for c in curves if (s := _line(c, metric, value)).x), *uncut(results, metric, x))
    if metric != "accuracy":
        return Plot(f"Test {metric} against {label}", axis, METRICS[metric], lines)
    guides = (Guide(results.dense.accuracy.mean, "original"),
              Guide(results.dense.accuracy.mean - results.tolerance, f"−{100 * results.tolerance:g} points"))
    return Plot(f"Test {metric} against {label}", axis, METRICS[metric], lines, guides, near(results))


def near(results: Results) -> tuple[float, float]:
    """The accuracies around the original's, a few tolerances wide."""
    best = max([results.dense.accuracy.high, *(cell.accuracy.high for c in results.curves for cell in c.cells)])
    return results.dense.accuracy.mean - max(0.03, 6 * results.tolerance), best + 0.003


def closer(plot: Plot) -> Plot:
    """The plot with its range of y narrowed to what is worth a closer look."""
    low, high = plot.near or (None, None)
    return replace(plot, title=f"{plot.title}, closer", y=replace(plot.y, low=low, high=high))


def uncut(results: Results, metric: str, x: str) -> tuple[Series, ...]:
    """The uncut network in each number of bits, where the x axis tells them apart; those of fewer bits have a time
    only where an engine was measured."""
    dense, batch = results.dense, x.removeprefix("latency-")
    if not results.quantized or not (x == "bytes" or x.startswith("latency-")) or metric != "accuracy":
        return ()
    found = [(32, dense.bytes if x == "bytes" else dense.seconds[batch] * 1e3, dense.accuracy.mean)]
    for one in results.quantized:
        speed = one.cell.speed(batch, one.method.way)
        taken = one.cell.stored if x == "bytes" else speed.seconds * 1e3 if speed else None
        found += [(one.bits, taken, one.cell.accuracy.mean)] if taken is not None else []
    return tuple(Series(f"uncut {text.bits_name(bits)}", "ink", (taken,), (accuracy,), symbol=UNCUT_SYMBOLS[bits],
                        shape="points", text=(_uncut_tooltip(bits, accuracy, results),))
                 for bits, taken, accuracy in found)


def _uncut_tooltip(bits: int, accuracy: float, results: Results) -> str:
    """What hovering over an uncut network shows."""
    stored = next((q.cell.stored for q in results.quantized if q.bits == bits), results.dense.bytes)
    return (f"uncut {text.bits_name(bits)}\naccuracy {text.percent(accuracy, 2)}\n"
            f"{text.with_prefix(stored, 'B')} in a file")


def _line(curve: Curve, metric: str, value: X) -> Series:
    """One method's mean and spread of a metric."""
    points = [(x, cell, getattr(cell, metric)) for cell in curve.cells if (x := value(curve, cell)) is not None]
    m = curve.method
    return Series(m.name, role(m.granularity, m.tone), tuple(x for x, _, _ in points),
                  tuple(v.mean for _, _, v in points), tuple(v.low for _, _, v in points),
                  tuple(v.high for _, _, v in points),
                  "dash" if m.control else "dot" if m.tone >= TONES or m.bits != 32 else "solid",
                  symbol(m.granularity, m.has_recovery),
                  text=tuple(tooltip(curve, cell) for _, cell, _ in points),
                  at=tuple(cell.sparsity for _, cell, _ in points), group=m.granularity)


def tooltip(curve: Curve, cell: Cell) -> str:
    """What hovering over a point shows."""
    lines = [f"{curve.method.name}: {text.percent(1 - cell.sparsity)} kept, {text.percent(cell.sparsity)} cut",
             f"accuracy {text.percent(cell.accuracy.mean, 2)}, loss {cell.loss.mean:.4g}",
             cost_words(cell), f"{text.with_prefix(cell.stored, 'B')} in a file, {text.count(cell.nonzeros)} "
             f"parameters left, {text.with_prefix(cell.flops_nonzero)} FLOPs"]
    for batch, ways in cell.speeds.items():
        lines += [f"batch {batch}: {text.duration(s.seconds)}, {s.shown} the speed "
                  f"({text.VARIANTS.get(way, way)})" for way, s in ways.items()]
    return "\n".join(lines)
