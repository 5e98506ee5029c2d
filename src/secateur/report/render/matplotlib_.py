"""Draws plots with Matplotlib into PNG and SVG; the same plots give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from secateur.core import paths, text
from secateur.core.optional import need
from secateur.report.plots import curves, distributions, sensitivity, speed, training
from secateur.report.plots.base import Plot, Series
from secateur.report.plots.palette import LIGHT
from secateur.report.plots.ticks import bounds, extent, log_ticks
from secateur.report.results import Digest

MARKS = {"circle": "o", "square": "s", "diamond": "D", "triangle": "^", "star": "*", "cross": "X", "": ""}
SIZES = {"star": 8, "diamond": 5}
LINES = {"solid": "-", "dash": "--", "dot": ":"}
BAND = {"solid": 0.18, "dash": 0.08, "dot": 0.1}
MOST_PANELS = 12
LEGEND_ROW = 0.2
KINDS = ("png", "svg")
STYLE = {"svg.hashsalt": "secateur", "font.size": 9.5, "axes.titlesize": 10.5, "axes.edgecolor": LIGHT["soft"],
         "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": LIGHT["line"],
         "grid.linewidth": 0.7, "text.color": LIGHT["ink"], "axes.labelcolor": LIGHT["ink"],
         "xtick.color": LIGHT["soft"], "ytick.color": LIGHT["soft"], "axes.axisbelow": True,
         "legend.frameon": False, "figure.facecolor": "white",
         "axes.titleweight": "bold", "axes.titlelocation": "left"}


def collect(digest: Digest) -> dict[str, list[Plot]]:
    """The figures of a run: file name → panels."""
    shown = [v for v, _ in curves.shows(digest)]
    found = {"-".join([metric] + [show] * (show != "all")): [curves.plot(digest, metric, "cut", show)]
             for metric in curves.METRICS for show in shown}
    found["accuracy-closer"] = [curves.closer(curves.plot(digest, "accuracy"))]
    choices = [x for x in curves.x_choices(digest) if x != "cut"]
    found |= {f"{metric}-by-cost": [curves.plot(digest, metric, x) for x in choices] for metric in curves.METRICS}
    if digest.batches:
        found["pareto"] = [speed.pareto(digest, b) for b in digest.batches]
        found["speedup"] = [speed.speedup(digest, b) for b in digest.batches]
    if names := list(distributions.by_layer(digest))[:MOST_PANELS]:
        for scale in distributions.SCALES:
            found[f"distributions-by-{scale}"] = [distributions.histogram(digest, n, scale) for n in names]
        found["large-weights"] = [distributions.fate(digest, n) for n in names]
    if digest.run.scans:
        first = next(iter(sensitivity.methods(digest)))
        found["sensitivity"] = [sensitivity.plot(digest, m, first) for m in sensitivity.METRICS]
    if training.histories(digest):
        found["training"] = [training.plot(digest, m) for m in ("loss", "accuracy")]
    return found


def write(digest: Digest, folder: Path) -> list[Path]:
    """Write every figure as PNG and SVG into a folder."""
    written = []
    with need("matplotlib").rc_context(STYLE):
        for name, panels in collect(digest).items():
            figure = draw(panels)
            written += [save(figure, folder / f"{name}.{kind}") for kind in KINDS]
    return written


def save(figure: Any, path: Path) -> Path:
    """Save one figure without a date or a program's name in it; its layout, once found, is kept."""
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    with paths.write_whole(path, in_run=True) as scratch:
        figure.savefig(scratch, format=path.suffix[1:], dpi=160, metadata=metadata)
    figure.set_layout_engine("none")
    return path


def draw(panels: Sequence[Plot]) -> Any:
    """One figure: panels in rows of up to three, one legend under all."""
    columns = min(len(panels), 3 if len(panels) != 4 else 2)
    rows = math.ceil(len(panels) / columns)
    width = 7.2 if columns == 1 else 4.4 * columns
    figure = need("matplotlib.figure").Figure(figsize=(width, (4.2 if columns == 1 else 3.4) * rows + 0.5),
                                              layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, panel in zip(grid, panels, strict=False):
        panel_on(axes, panel)
    for axes in grid[len(panels):]:
        axes.set_visible(False)
    legend(figure, grid[:len(panels)])
    figure.get_layout_engine().set(w_pad=0.09, h_pad=0.09)
    return figure


def legend(figure: Any, grid: Sequence[Any]) -> None:
    """One legend for all panels, each name once."""
    handles = {label: handle for axes in grid for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if handles:
        columns = min(len(handles), max(1, int(figure.get_figwidth() * 9 / max(len(label) + 6 for label in handles))))
        figure.set_figheight(figure.get_figheight() + LEGEND_ROW * max(0, math.ceil(len(handles) / columns) - 3))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, fontsize=9)


def panel_on(axes: Any, plot: Plot) -> None:
    """Draw one plot on its axes."""
    for s in plot.series:
        series_on(axes, s)
    scales(axes, plot)
    for guide in plot.guides:
        axes.axhline(guide.y, color=LIGHT["soft"], linewidth=1, zorder=1)
        axes.annotate(guide.label, (1, guide.y), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                      fontsize=8, color=LIGHT["soft"], xytext=(0, 2), textcoords="offset points")
    axes.set(xlabel=plot.x.title, ylabel=plot.y.title, title=plot.title)


def series_on(axes: Any, s: Series) -> None:
    """Draw one series: its band, then its line or area."""
    colour = LIGHT[s.role]
    if s.low:
        axes.fill_between(s.x, s.low, s.high, color=colour, alpha=BAND[s.dash], linewidth=0)
    style = {"color": colour, "label": s.name, "linestyle": LINES[s.dash] if s.shape != "points" else "",
             "marker": MARKS[s.symbol], "markersize": SIZES.get(s.symbol, 4.5), "linewidth": 1.7}
    if s.dash != "solid" or s.shape == "points":
        style |= {"markerfacecolor": "white" if s.symbol != "cross" else colour}
    if s.shape == "area":
        axes.fill_between(s.x, s.y, step="post", color=colour, alpha=0.25, linewidth=0)
    axes.plot(s.x, s.y, drawstyle="steps-post" if s.shape in ("steps", "area") else "default", **style)


def scales(axes: Any, plot: Plot) -> None:
    """Ranges, logarithms, ticks and percent signs."""
    ticker = need("matplotlib.ticker")
    for name, axis in (("x", plot.x), ("y", plot.y)):
        target, found = getattr(axes, f"{name}axis"), extent(plot, name)
        if axis.percent:
            target.set_major_formatter(ticker.FuncFormatter(lambda v, _: text.percent(v)))
        if axis.log and found:
            getattr(axes, f"set_{name}scale")("log")
            ticks = log_ticks(*(bounds(axis, found) or found))
            getattr(axes, f"set_{name}ticks")([v for v, _ in ticks], [label for _, label in ticks])
            target.set_minor_locator(ticker.NullLocator())
        if limits := bounds(axis, found):
            getattr(axes, f"set_{name}lim")(*limits)
    if not plot.y.log and plot.y.low is not None and plot.y.high is None:
        axes.set_ylim(bottom=plot.y.low)
    if plot.x.title == "epoch":
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
