"""Ticks and ranges that both renderers share."""

from __future__ import annotations

import math

from secateur.core import text
from secateur.report.plots.base import Axis, Plot

STEPS = ((1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))
MOST = 7


def extent(plot: Plot, axis: str) -> tuple[float, float] | None:
    """The lowest and highest value drawn along ``x`` or ``y``, bands and guides too; None without values."""
    values = [v for s in plot.series for part in ((s.x,) if axis == "x" else (s.y, s.low, s.high)) for v in part]
    values += [g.y for g in plot.guides] if axis == "y" else []
    log = getattr(plot, axis).log
    finite = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    return (min(finite), max(finite)) if finite else None


def log_range(low: float, high: float) -> tuple[float, float]:
    """A little room around positive values, at least a factor of 1.6 apart.

    >>> log_range(1.0, 1.0)[1] / log_range(1.0, 1.0)[0] > 1.5
    True
    """
    pad = max(1.06, (1.6 / (high / low)) ** 0.5, (high / low) ** 0.04)
    return low / pad, high * pad


def log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Ticks of a logarithmic axis between two positive values: round numbers, at most :data:`MOST`.

    >>> [label for _, label in log_ticks(0.3, 12)]
    ['0.5', '1', '2', '5', '10']
    """
    for steps in STEPS:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        values = [v for d in decades for step in steps if low <= (v := float(f"{step}e{d}")) <= high]
        if len(values) <= MOST:
            break
    if len(values) < 2:
        values = sorted({float(f"{low * (high / low) ** f:.2g}") for f in (0.1, 0.5, 0.9)})
    return [(v, tick(v)) for v in values]


def tick(value: float) -> str:
    """A tick's label."""
    return text.scaled(value).replace(" ", "") if value >= 1000 else f"{value:.4g}"


def bounds(axis: Axis, found: tuple[float, float] | None) -> tuple[float, float] | None:
    """The range of an axis in data values; None where the renderer may choose."""
    if axis.log:
        return log_range(*found) if found else None
    if axis.low is not None and axis.high is not None:
        room = 0.02 * (axis.high - axis.low)
        return axis.low - room * axis.percent, axis.high + room * axis.percent
    return None
