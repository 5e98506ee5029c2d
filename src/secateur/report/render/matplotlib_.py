"""Draws plots with Matplotlib into PNG and SVG, with real text; the same plots give the same bytes."""

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
from secateur.report.results import Results

KINDS = ("png", "svg")
_METADATA = {"png": {"Software": None}, "svg": {"Date": None}}
_MARKS = {"circle": "o", "square": "s", "diamond": "D", "triangle": "^", "star": "*", "cross": "X",
          "triangle-down": "v", "": ""}
_SIZES = {"star": 8, "diamond": 5}
_LINES = {"solid": "-", "dash": "--", "dot": ":"}
_BAND = {"solid": 0.18, "dash": 0.08, "dot": 0.1}
_MOST_PANELS = 12
"""Layers that a figure shows; with more, panels are too small to read, and the page shows all."""
_LEGEND_ROW = 0.2
"""The height of a row of the legend, in inches."""
STYLE = {"svg.hashsalt": "secateur", "svg.fonttype": "none", "font.size": 9.5, "axes.titlesize": 10.5,
         "axes.edgecolor": LIGHT["soft"],
         "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": LIGHT["line"],
         "grid.linewidth": 0.7, "text.color": LIGHT["ink"], "axes.labelcolor": LIGHT["ink"],
         "xtick.color": LIGHT["soft"], "ytick.color": LIGHT["soft"], "axes.axisbelow": True,
         "legend.frameon": False, "figure.facecolor": "white",
         "axes.titleweight": "bold", "axes.titlelocation": "left", "text.parse_math": False}


def collect(results: Results) -> dict[str, list[Plot]]:
    """The figures of a run: file name → panels."""
    options = [v for v, _ in curves.shows(results)]
    figures = {"-".join([metric] + [show] * (show != "all")): [curves.plot(results, metric, "kept", show)]
               for metric in curves.METRICS for show in options}
    figures["accuracy-closer"] = [curves.closer(curves.plot(results, "accuracy"))]
    figures["accuracy-by-bytes"] = [curves.closer(curves.first_plot(results, "bytes"))]
    choices = [x for x in curves.x_choices(results) if x != "kept"]
    figures |= {f"{metric}-by-cost": [curves.plot(results, metric, x) for x in choices] for metric in curves.METRICS}
    if results.batches:
        figures["pareto"] = [speed.pareto(results, b) for b in results.batches]
        figures["speedup"] = [speed.speedup(results, b) for b in results.batches]
    if names := list(distributions.by_layer(results))[:_MOST_PANELS]:
        for scale in distributions.SCALES:
            figures[f"distributions-by-{scale}"] = [distributions.histogram(results, n, scale) for n in names]
        figures["large-weights"] = [distributions.large_weights(results, n) for n in names]
    if results.run.scans:
        first = next(iter(sensitivity.methods(results)))
        figures["sensitivity"] = [sensitivity.plot(results, m, first) for m in sensitivity.METRICS]
    if training.histories(results):
        figures["training"] = [training.plot(results, m) for m in training.METRICS]
    return figures


def write(results: Results, folder: Path) -> list[Path]:
    """Write every figure as PNG and SVG into a folder."""
    files = []
    with need("matplotlib").rc_context(STYLE):
        for name, panels in collect(results).items():
            figure = draw(panels)
            files += [save(figure, folder / f"{name}.{kind}") for kind in KINDS]
    return files


def save(figure: Any, path: Path) -> Path:
    """Save one figure without a date or a program's name in it; its layout, once found, is kept."""
    metadata = _METADATA[path.suffix[1:]]
    with paths.write_whole(path, in_run=True) as scratch:
        figure.savefig(scratch, format=path.suffix[1:], dpi=160, metadata=metadata)
    figure.set_layout_engine("none")
    return path


def draw(panels: Sequence[Plot]) -> Any:
    """One figure: panels in rows of up to three, one legend under all."""
    columns = min(len(panels), 3 if len(panels) != 4 else 2)
    rows = math.ceil(len(panels) / columns)
    width, height = (7.2, 4.2) if columns == 1 else (4.4 * columns, 3.4)
    figure = need("matplotlib.figure").Figure(figsize=(width, height * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel)
    for axes in grid[len(panels):]:
        axes.set_visible(False)
    _draw_legend(figure, grid[:len(panels)])
    figure.get_layout_engine().set(w_pad=0.09, h_pad=0.09)
    return figure


def _draw_legend(figure: Any, grid: Sequence[Any]) -> None:
    """One legend for all panels, each name once."""
    handles = {label: handle for axes in grid for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if handles:
        columns = min(len(handles), max(1, int(figure.get_figwidth() * 9 / max(len(label) + 6 for label in handles))))
        # The panels keep their height: the figure has room for three rows, and grows by each further one.
        figure.set_figheight(figure.get_figheight() + _LEGEND_ROW * max(0, math.ceil(len(handles) / columns) - 3))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, fontsize=9)


def _draw_panel(axes: Any, plot: Plot) -> None:
    for s in plot.series:
        _draw_series(axes, s)
    _set_scales(axes, plot)
    for guide in plot.guides:
        axes.axhline(guide.y, color=LIGHT["soft"], linewidth=1, zorder=1)
        axes.annotate(guide.label, (1, guide.y), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                      fontsize=8, color=LIGHT["soft"], xytext=(0, 2), textcoords="offset points")
    axes.set(xlabel=plot.x.title, ylabel=plot.y.title, title=plot.title)


def _draw_series(axes: Any, s: Series) -> None:
    """One series: its band, then its line or area."""
    colour = LIGHT[s.role]
    if s.low:
        axes.fill_between(s.x, s.low, s.high, color=colour, alpha=_BAND[s.dash], linewidth=0)
    style = {"color": colour, "label": s.name, "linestyle": _LINES[s.dash] if s.shape != "points" else "",
             "marker": _MARKS[s.symbol], "markersize": _SIZES.get(s.symbol, 4.5), "linewidth": 1.7}
    if s.dash != "solid" or s.shape == "points":
        style |= {"markerfacecolor": "white" if s.symbol != "cross" else colour}
    if s.shape == "area":
        axes.fill_between(s.x, s.y, step="post", color=colour, alpha=0.25, linewidth=0)
    axes.plot(s.x, s.y, drawstyle="steps-post" if s.shape in ("steps", "area") else "default", **style)


def _set_scales(axes: Any, plot: Plot) -> None:
    """Ranges, logarithms, ticks and percent signs."""
    ticker = need("matplotlib.ticker")
    for name, axis in (("x", plot.x), ("y", plot.y)):
        target, values = getattr(axes, f"{name}axis"), extent(plot, name)
        limits = bounds(axis, values)
        if axis.percent:
            target.set_major_formatter(ticker.FuncFormatter(lambda v, _: text.percent(v)))
        if axis.log and limits:
            getattr(axes, f"set_{name}scale")("log")
            target.set_ticks(*zip(*log_ticks(*limits, axis.percent), strict=True))
            target.set_minor_locator(ticker.NullLocator())
        if axis.names:
            target.set_ticks(range(len(axis.names)), axis.names)
        if limits:
            getattr(axes, f"set_{name}lim")(*(limits[::-1] if axis.falls else limits))
    if plot.x.title == "epoch":
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
