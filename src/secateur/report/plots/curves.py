"""Accuracy and loss against what was cut, counted in several ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from secateur.core import text
from secateur.report.conclusions import RUN_WITH, cost_words
from secateur.report.plots.base import Axis, Board, Control, Guide, Plot, Series
from secateur.report.plots.palette import TONES, role, symbol
from secateur.report.results import Cell, Curve, Digest

X = Callable[[Curve, Cell], float | None]
CUT = Axis("fraction cut", percent=True, low=0, high=1)


def x_choices(digest: Digest) -> dict[str, tuple[str, Axis, X]]:
    """What the x axis can show: value → (label, axis, function of curve and cell)."""
    choices: dict[str, tuple[str, Axis, X]] = {
        "cut": ("fraction cut", CUT, lambda _, cell: cell.sparsity),
        "parameters": ("parameters left", Axis("parameters that are not zero", log=True),
                       lambda _, cell: cell.nonzeros),
        "flops": ("zero-aware FLOPs", Axis("FLOPs of one example, zeros not counted", log=True),
                  lambda _, cell: cell.flops_nonzero)}
    for batch in digest.batches:
        axis = Axis(f"measured latency at batch {batch} (ms)", log=True)
        choices[f"latency-{batch}"] = (f"latency, batch {batch}", axis, latency(batch))
    return choices


def latency(batch: str) -> X:
    """Milliseconds at a batch: zeros with sparse kernels, smaller networks dense."""
    def read(curve: Curve, cell: Cell) -> float | None:
        speed = cell.speed.get(batch, {}).get(RUN_WITH.get(curve.method.granularity, "sparse"))
        return speed.seconds * 1e3 if speed else None
    return read


METRICS = {"accuracy": Axis("test accuracy", percent=True), "loss": Axis("test loss (cross-entropy, nats)", log=True)}


def board(digest: Digest) -> Board:
    """Accuracy and loss under a choice of x axis and of granularity."""
    choices = x_choices(digest)
    shown = shows(digest)
    controls = (Control("x", "x axis", tuple((v, label) for v, (label, _, _) in choices.items())),
                Control("show", "show", shown))
    frames = tuple({f"{x}|{show}": plot(digest, metric, x, show) for x in choices for show, _ in shown}
                   for metric in METRICS)
    beside = (" Stars and diamonds are cuts with a recovery after them." if digest.recovered() else "")
    return Board("curves", controls, frames, "Lines are means over the seeds, bands run from the lowest to the "
                 f"highest seed; controls, which cut at random, are dashed.{beside}")


def shows(digest: Digest) -> tuple[tuple[str, str], ...]:
    """All granularities overlaid, then each alone where there are several."""
    each = tuple((g, f"{text.noun(g)} alone") for g in digest.granularities)
    return (("all", "overlaid"), *each) if len(each) > 1 else (("all", each[0][1]),)


def plot(digest: Digest, metric: str, x: str = "cut", show: str = "all") -> Plot:
    """One metric against one way to count what is left."""
    _, axis, value = x_choices(digest)[x]
    curves = digest.methods(None if show == "all" else show, controls=True)
    drawn = tuple(s for c in curves if (s := series(c, metric, value)).x)
    guides = (Guide(digest.dense.accuracy.mean - digest.tolerance, "tolerance"),) if metric == "accuracy" else ()
    key = "-".join([metric] + [x] * (x != "cut") + [show] * (show != "all"))
    return Plot(key, f"Test {metric} against {x_choices(digest)[x][0]}", axis, METRICS[metric], drawn, guides,
                near(digest) if metric == "accuracy" else None)


def near(digest: Digest) -> tuple[float, float]:
    """The accuracies around the original's, a few tolerances wide."""
    best = max([digest.dense.accuracy.high, *(cell.accuracy.high for c in digest.curves for cell in c.cells)])
    return digest.dense.accuracy.mean - max(0.03, 6 * digest.tolerance), best + 0.003


def closer(plot: Plot) -> Plot:
    """The plot with its range of y narrowed to what is worth a closer look."""
    low, high = plot.near or (None, None)
    return replace(plot, title=f"{plot.title}, closer", y=replace(plot.y, low=low, high=high))


def series(curve: Curve, metric: str, value: X) -> Series:
    """One method's mean and spread of a metric."""
    placed = [(x, cell, getattr(cell, metric)) for cell in curve.cells if (x := value(curve, cell)) is not None]
    m = curve.method
    return Series(m.name, role(m.granularity, m.tone), tuple(x for x, _, _ in placed),
                  tuple(v.mean for _, _, v in placed), tuple(v.low for _, _, v in placed),
                  tuple(v.high for _, _, v in placed),
                  "dash" if m.control else "dot" if m.tone >= TONES else "solid", symbol(m.granularity, m.recovered),
                  text=tuple(tooltip(curve, cell) for _, cell, _ in placed))


def tooltip(curve: Curve, cell: Cell) -> str:
    """What hovering over a point tells."""
    lines = [f"{text.percent(cell.sparsity)} of {curve.method.name} cut",
             f"accuracy {text.percent(cell.accuracy.mean, 2)}, loss {cell.loss.mean:.4g}",
             cost_words(cell), f"{text.count(cell.nonzeros)} parameters left, "
             f"{text.scaled(cell.flops_nonzero)} FLOPs"]
    for batch, variants in cell.speed.items():
        lines += [f"batch {batch}: {text.duration(s.seconds)}, {text.times(s.ratio)} the speed "
                  f"({text.VARIANTS.get(v, v)})" for v, s in variants.items()]
    return "\n".join(lines)
