"""Turns plots into Plotly's terms, with colours left open: ``@role`` stands for a colour of the page's theme."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

from secateur.report.plots.base import Axis, Guide, Plot, Series
from secateur.report.plots.ticks import bounds, extent, log_ticks

_SYMBOLS = {"circle": "circle", "square": "square", "diamond": "diamond", "triangle": "triangle-up", "star": "star",
            "cross": "x", "triangle-down": "triangle-down"}
_FONT = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif", "size": 13,
         "color": "@ink"}
_AXIS = {"gridcolor": "@line", "linecolor": "@soft", "tickcolor": "@soft", "zeroline": False,
         "showline": True, "ticks": "outside", "ticklen": 4, "tickfont": {"color": "@soft", "size": 12}}
_LAYOUT = {"paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "showlegend": False,
           "hovermode": "closest", "autosize": True, "margin": {"l": 68, "r": 14, "t": 12, "b": 46}, "font": _FONT,
           "hoverlabel": {"bgcolor": "@paper", "bordercolor": "@soft", "align": "left", "font": _FONT}}
_BAND = {"solid": 0.13, "dash": 0.05, "dot": 0.07}


def spec(plot: Plot) -> dict[str, Any]:
    """One plot as Plotly's ``data`` and ``layout``; ``names`` lists the series, for their labels.

    ``at`` of a trace holds the sparsities by which the page marks points; ``kept`` says that x is the fraction kept.
    """
    data = [trace | {"meta": i} for i, s in enumerate(plot.series) for trace in (*_band(s), _trace(s))]
    names = [{k: getattr(s, k) for k in ("name", "role", "dash", "symbol", "shape", "group")} for s in plot.series]
    layout = _LAYOUT | {"xaxis": _axis(plot, "x"), "yaxis": _axis(plot, "y"),
                        "shapes": [_line(g) for g in plot.guides]}
    return {"data": data, "layout": layout, "names": names, "title": plot.title,
            "units": [plot.x.title, plot.y.title], "near": plot.near, "kept": plot.x.falls,
            "guides": [{"y": g.y, "name": g.label} for g in plot.guides]}


def _numbers(values: Sequence[float]) -> list[float | None]:
    """Values that JSON can hold: six digits, None for what is not finite."""
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in values]


def _band(s: Series) -> list[dict[str, Any]]:
    """The band around a series, where it has one: a lower line, and an upper one filled down to it."""
    edge = {"type": "scatter", "mode": "lines", "x": _numbers(s.x), "line": {"width": 0, "color": f"@{s.role}"},
            "hoverinfo": "skip", "showlegend": False}
    fill = {"fill": "tonexty", "fillcolor": f"@{s.role}/{_BAND[s.dash]}"}
    return [edge | {"y": _numbers(s.low)}, edge | {"y": _numbers(s.high)} | fill] if s.low else []


def _trace(s: Series) -> dict[str, Any]:
    """The line, points or area of a series."""
    mode = "markers" if s.shape == "points" else "lines+markers" if s.symbol else "lines"
    trace: dict[str, Any] = {"type": "scatter", "name": html.escape(s.name), "mode": mode, "x": _numbers(s.x),
                             "y": _numbers(s.y), "showlegend": False,
                             "line": {"color": f"@{s.role}", "width": 2, "dash": s.dash}}
    if s.symbol:
        hollow = s.dash != "solid" or (s.shape == "points" and s.symbol != "cross")
        trace["marker"] = {"symbol": _SYMBOLS[s.symbol], "size": 8 if s.shape != "points" else 9,
                           "color": "@paper" if hollow else f"@{s.role}", "line": {"color": f"@{s.role}", "width": 1.6}}
    if s.shape in ("steps", "area"):
        trace["line"]["shape"] = "hv"
    if s.shape == "area":
        trace |= {"fill": "tozeroy", "fillcolor": f"@{s.role}/0.22"}
    if s.at:
        trace["at"] = _numbers(s.at)
    if not s.text:
        return trace | {"hoverinfo": "skip"}
    text = [html.escape(t).replace("\n", "<br>") for t in s.text]
    return trace | {"text": text, "hovertemplate": "%{text}<extra></extra>"}


def _axis(plot: Plot, name: str) -> dict[str, Any]:
    """One axis: its title, ticks and range."""
    a: Axis = getattr(plot, name)
    values = extent(plot, name)
    limits = bounds(a, values)
    axis: dict[str, Any] = _AXIS | {"title": {"text": html.escape(a.title), "standoff": 10, "font": {"size": 13}}}
    if a.percent:
        axis |= {"tickformat": ".3~p", "ticklabelstandoff": 2}
    if a.log and limits:
        ticks, labels = zip(*log_ticks(*limits, a.percent), strict=True)
        axis |= {"type": "log", "range": [math.log10(v) for v in limits], "tickvals": ticks, "ticktext": labels}
    elif limits:
        axis["range"] = list(limits)
    if a.names:
        axis |= {"tickvals": list(range(len(a.names))), "ticktext": [html.escape(n) for n in a.names]}
    if a.falls and limits:
        axis["range"] = axis["range"][::-1]
    if a.title == "epoch":
        axis |= {"tickformat": "d", "dtick": 1} if values and values[1] - values[0] < 12 else {"tickformat": "d"}
    return axis


def _line(guide: Guide) -> dict[str, Any]:
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": guide.y, "y1": guide.y, "layer": "below",
            "line": {"color": "@soft", "width": 1.4}}

