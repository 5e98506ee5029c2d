"""Ticks and ranges that both renderers share."""

from __future__ import annotations

import math

from secateur.core import text
from secateur.report.plots.base import Axis, Plot

# The multiples of powers of ten that may be ticks, densest first: the first that give few enough ticks are taken.
_MULTIPLES = ((1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))
_MOST = 7
"""The most ticks of an axis: the labels of more would overlap."""


def extent(plot: Plot, axis: str) -> tuple[float, float] | None:
    """The lowest and highest value drawn along ``x`` or ``y``, bands and guides too; None without values."""
    values = [v for s in plot.series for part in ((s.x,) if axis == "x" else (s.y, s.low, s.high)) for v in part]
    values += [g.y for g in plot.guides] if axis == "y" else []
    log = getattr(plot, axis).log
    finite = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    return (min(finite), max(finite)) if finite else None


def log_ticks(low: float, high: float, percent: bool = False) -> list[tuple[float, str]]:
    """Ticks of a logarithmic axis between two positive values: round numbers, at most seven, with their labels.

    >>> [label for _, label in log_ticks(0.3, 12)], [label for _, label in log_ticks(0.04, 0.6, percent=True)]
    (['0.5', '1', '2', '5', '10'], ['5%', '7%', '10%', '15%', '20%', '30%', '50%'])
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for multiples in _MULTIPLES:
        values = [v for d in decades for m in multiples if low <= (v := float(f"{m}e{d}")) <= high]
        if len(values) <= _MOST:
            break
    if len(values) < 2:
        values = sorted({float(f"{low * (high / low) ** f:.2g}") for f in (0.1, 0.5, 0.9)})
    return [(v, text.percent(v, 3) if percent else text.with_prefix(v).replace(" ", "") if v >= 1000 else f"{v:.4g}")
            for v in values]


def bounds(axis: Axis, values: tuple[float, float] | None) -> tuple[float, float] | None:
    """The range of an axis in data values, which lie between ``values``; None where nothing is drawn.

    >>> low, high = bounds(Axis("milliseconds", log=True), (1.0, 1.0))
    >>> high / low > 1.5
    True
    >>> bounds(Axis("share", low=0.0, high=1.0), (0.2, 0.7)), bounds(Axis("class", names=("a", "b")), (0.0, 1.0))
    ((0.0, 1.0), (-0.5, 1.5))
    """
    if axis.names:
        return -0.5, len(axis.names) - 0.5
    if values is None:
        return None
    low, high = values
    if axis.log:
        # A little room at both ends; ends that are close, or the same, come to lie a factor of 1.6 apart.
        room = max(1.06, (1.6 / (high / low)) ** 0.5, (high / low) ** 0.04)
        return low / room, high * room
    space = 0.05 * (high - low) or 0.01 * (abs(high) or 1)
    return (axis.low if axis.low is not None else low - space, axis.high if axis.high is not None else high + space)
