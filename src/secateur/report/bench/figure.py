"""The figure: how long a call takes, a panel a batch size, in the report's colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from secateur.bench.points import name_of
from secateur.bench.rounded import counts
from secateur.bench.verdict import quickest, title
from secateur.core import text
from secateur.core.errors import MissingExtraError
from secateur.core.optional import need
from secateur.report.plots.palette import LIGHT
from secateur.report.render import matplotlib_

_COLOURS = {"original torch": "soft", "cut torch": "weight-2", "cut sparse": "weight",
            "dense": "soft", "zeroed": "weight-2", "sparse": "weight"}
"""Of runs, and of the engines that results of version 1 name in their place."""
_OTHERS = ("neuron", "neuron-2", "neuron-3", "other")
_WIDTH, _BAR = 4.6, 0.27
"""The width of the figure and the height of a bar, in inches."""


def check_installed() -> None:
    """Refuse to begin without Matplotlib.

    Raises:
        MissingExtraError: the message has the command that installs it.
    """
    try:
        need("matplotlib")
    except MissingExtraError as error:
        raise MissingExtraError("matplotlib", "report", "the figure of --out") from error


def write(results: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``bench.png`` and ``bench.svg``, narrow enough to be read on a phone."""
    with need("matplotlib").rc_context(matplotlib_.STYLE):
        figure = draw(results)
        return [matplotlib_.save(figure, folder / f"bench.{kind}") for kind in matplotlib_.KINDS]


def draw(results: dict[str, Any]) -> Any:
    """A panel for each batch size and count of threads, one below the other."""
    cases: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for p in results["points"]:
        cases.setdefault((p["threads"], p["batch"]), []).append(p)
    heights = [len(rows) for rows in cases.values()]
    tall = _BAR * sum(heights) + 0.75 * len(heights) + 0.2
    figure = need("matplotlib.figure").Figure(figsize=(_WIDTH, tall), layout="constrained")
    grid = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, ((threads, batch), rows) in zip(grid, cases.items(), strict=True):
        _draw_panel(axes, results, rows)
        axes.set_title(f"batch {batch}, {threads} thread{'s' * (threads > 1)}", loc="left")
    figure.supxlabel("ms a call: bar to the median, line to p99 (▸: beyond)", fontsize=8.5)
    return figure


def _draw_panel(axes: Any, results: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Bars of one case, the fastest label in bold; the axis ends where the labels have room."""
    names = [name_of(r) for r in rows]
    values, ends = [r["p50"] * 1e3 for r in rows], [r["p99"] * 1e3 for r in rows]
    most, best = max(values), quickest([*filter(counts, rows)] or rows)
    axes.barh(range(len(rows)), values, color=[LIGHT[c] for c in _colours(names)], height=0.72)
    for place, (row, value, end) in enumerate(zip(rows, values, ends, strict=True)):
        tip = min(end, 1.25 * most)
        axes.plot([value, tip], [place, place], color=LIGHT["ink"], linewidth=1, marker=">" if end > tip else "",
                  markevery=[1], markersize=4)
        label = f"{value:.3g} ms" + (f", {text.times(row['speedup'])}" if "speedup" in row else "")
        label += "" if counts(row) else ", too far off"
        axes.annotate(label, (max(value, tip), place), xytext=(5, 0), textcoords="offset points", va="center",
                      fontsize=8.5, fontweight="bold" if row is best else "normal")
    axes.set_yticks(range(len(rows)), [title(results, r) for r in rows])
    axes.tick_params(axis="y", length=0, labelcolor=LIGHT["ink"])
    axes.set(xlim=(0, 2.15 * most), ylim=(len(rows) - 0.5, -0.5))
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(need("matplotlib.ticker").MaxNLocator(4))


def _colours(names: list[str]) -> list[str]:
    """The colour role of each run: torch grey and orange, ours red, others blue.

    >>> _colours(["original torch", "cut sparse", "cut openvino"])
    ['soft', 'weight', 'neuron']
    """
    others = [n for n in names if n not in _COLOURS]
    return [_COLOURS.get(n) or _OTHERS[others.index(n) % len(_OTHERS)] for n in names]
