"""Turns plots into Plotly's terms, with colours left open: ``@role`` stands for a colour of the page's theme."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

from secateur.report.plots.base import Axis, Guide, Plot, Series
from secateur.report.plots.ticks import bounds, extent, log_ticks

SYMBOLS = {"circle": "circle", "square": "square", "diamond": "diamond", "triangle": "triangle-up", "star": "star",
           "cross": "x"}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
LINES = {"gridcolor": "@line", "linecolor": "@soft", "tickcolor": "@soft", "zeroline": False, "automargin": True,
         "showline": True, "ticks": "outside", "ticklen": 4, "tickfont": {"color": "@soft", "size": 12}}
BAND = {"solid": 0.18, "dash": 0.07, "dot": 0.1}


def spec(plot: Plot) -> dict[str, Any]:
    """One plot as Plotly's ``data`` and ``layout``; ``names`` lists the series for the key above the plot."""
    data: list[dict[str, Any]] = []
    for i, s in enumerate(plot.series):
        data += [dict(t, meta=i) for t in ([*band(s)] if s.low else []) + [trace(s)]]
    names = [{k: getattr(s, k) for k in ("name", "role", "dash", "symbol", "shape")} for s in plot.series]
    return {"data": data, "layout": layout(plot), "names": names, "title": plot.title,
            "units": [plot.x.title, plot.y.title], "near": plot.near}


def numbers(values: Sequence[float]) -> list[float | None]:
    """Values that JSON can hold: six digits, None for what is not finite."""
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in values]


def band(s: Series) -> list[dict[str, Any]]:
    """The band around a series: a lower line, and an upper one filled down to it."""
    edge = {"type": "scatter", "mode": "lines", "x": numbers(s.x), "line": {"width": 0, "color": f"@{s.role}"},
            "hoverinfo": "skip", "showlegend": False}
    filled = {"fill": "tonexty", "fillcolor": f"@{s.role}/{BAND[s.dash]}"}
    return [dict(edge, y=numbers(s.low)), dict(edge, y=numbers(s.high), **filled)]


def trace(s: Series) -> dict[str, Any]:
    """The line, points or area of a series."""
    mode = "markers" if s.shape == "points" else "lines+markers" if s.symbol else "lines"
    found: dict[str, Any] = {"type": "scatter", "name": html.escape(s.name), "mode": mode, "x": numbers(s.x),
                             "y": numbers(s.y), "showlegend": False,
                             "line": {"color": f"@{s.role}", "width": 2, "dash": s.dash}}
    if s.symbol:
        hollow = s.dash != "solid" or (s.shape == "points" and s.symbol != "cross")
        found["marker"] = {"symbol": SYMBOLS[s.symbol], "size": 8 if s.shape != "points" else 9,
                           "color": "@paper" if hollow else f"@{s.role}", "line": {"color": f"@{s.role}", "width": 1.6}}
    if s.shape in ("steps", "area"):
        found["line"]["shape"] = "hv"
    if s.shape == "area":
        found |= {"fill": "tozeroy", "fillcolor": f"@{s.role}/0.22"}
    if not s.text:
        return found | {"hoverinfo": "skip"}
    text = [html.escape(t).replace("\n", "<br>") for t in s.text]
    return found | {"text": text, "hovertemplate": "%{text}<extra></extra>"}


def layout(plot: Plot) -> dict[str, Any]:
    """Axes, guides and the look."""
    return {"xaxis": axis(plot, "x"), "yaxis": axis(plot, "y"), "shapes": [line(g) for g in plot.guides],
            "annotations": [label(g, plot) for g in plot.guides], "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)", "showlegend": False, "hovermode": "closest", "autosize": True,
            "margin": {"l": 58, "r": 14, "t": 12, "b": 48}, "font": {"family": FONT, "size": 13, "color": "@ink"},
            "hoverlabel": {"bgcolor": "@paper", "bordercolor": "@soft", "align": "left",
                           "font": {"family": FONT, "size": 13, "color": "@ink"}}}


def axis(plot: Plot, name: str) -> dict[str, Any]:
    """One axis."""
    a: Axis = getattr(plot, name)
    found = extent(plot, name)
    limits = bounds(a, found)
    result: dict[str, Any] = dict(LINES, title={"text": html.escape(a.title), "standoff": 10, "font": {"size": 13}})
    if a.percent:
        result |= {"tickformat": ".3~p", "ticklabelstandoff": 2}
    if a.log and limits:
        ticks = log_ticks(*limits)
        result |= {"type": "log", "range": [math.log10(v) for v in limits], "tickvals": [v for v, _ in ticks],
                   "ticktext": [t for _, t in ticks]}
    elif limits:
        result["range"] = list(limits)
    elif a.low is not None:
        result["rangemode"] = "tozero"
    if a.title == "epoch":
        result |= {"tickformat": "d", "dtick": 1} if found and found[1] - found[0] < 12 else {"tickformat": "d"}
    return result


def line(guide: Guide) -> dict[str, Any]:
    """A guide's line."""
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": guide.y, "y1": guide.y, "layer": "below",
            "line": {"color": "@soft", "width": 1.4}}


def label(guide: Guide, plot: Plot) -> dict[str, Any]:
    """A guide's label, at the right end of its line."""
    return {"xref": "paper", "x": 1, "xanchor": "right", "y": math.log10(guide.y) if plot.y.log else guide.y,
            "yanchor": "bottom", "text": html.escape(guide.label), "showarrow": False, "bgcolor": "@paper/0.75",
            "font": {"size": 12, "color": "@soft"}}
