"""What a plot function returns: plain data, which the renderers draw.

``render/matplotlib_.py`` draws these values with Matplotlib, ``render/plotly_.py`` turns them into Plotly's terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class Series:
    """One curve.

    ``role`` names a colour of the palette, ``dash`` is ``solid``, ``dash`` or ``dot``, ``symbol`` a marker
    (``circle``, ``square``, ``diamond``, ``triangle``, ``triangle-down``, ``star``, ``cross``, or empty for none).
    ``low`` and ``high`` bound a band around y, where there is one. ``shape`` is ``linear``, ``steps`` (a staircase),
    ``area`` (a filled staircase) or ``points`` (no line). ``text`` holds the tooltip of each point, ``at`` the
    sparsity of each, by which the page marks the points of the fraction that its reader keeps; of an ``area`` it
    holds the share of the items below each edge. ``group`` is the granularity, where the curve has one.
    """

    name: str
    role: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    dash: str = "solid"
    symbol: str = "circle"
    shape: str = "linear"
    text: tuple[str, ...] = ()
    at: tuple[float, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class Axis:
    """One axis: its title with the unit, whether it is logarithmic, whether ticks are percent, whether it falls.

    ``names`` are the labels of 0, 1, …, where the values are no numbers.
    """

    title: str
    log: bool = False
    percent: bool = False
    low: float | None = None
    high: float | None = None
    falls: bool = False
    names: tuple[str, ...] = ()


KEPT = Axis("fraction kept", log=True, percent=True, falls=True)
"""The whole network to the left: to the right, less and less is kept."""


@dataclass(frozen=True)
class Guide:
    """A straight line across the plot at a value of y, with a label."""

    y: float
    label: str


@dataclass(frozen=True)
class Plot:
    """One panel, ready to draw; ``near`` is a range of y worth a closer look."""

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    guides: tuple[Guide, ...] = ()
    near: tuple[float, float] | None = None


@dataclass(frozen=True)
class Control:
    """A choice that the reader has: its name, its label, and (value, label) of each option.

    A name is one choice of the whole page: boards with a control of the same name share it.
    """

    name: str
    label: str
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Board:
    """Plots that share controls. ``frames`` holds, for each place on the page, the plot of every choice.

    The key of a choice is the options' values joined by ``|`` in the order of the controls; the empty
    text where there are no controls.
    """

    key: str
    controls: tuple[Control, ...]
    frames: tuple[dict[str, Plot], ...]
    note: str = ""

    @property
    def closer(self) -> bool:
        """Whether some plot has a range worth a closer look."""
        return any(p.near for frame in self.frames for p in frame.values())

    @property
    def choices(self) -> tuple[str, ...]:
        """Every combination of the options, the default one first."""
        return tuple("|".join(c) for c in product(*([v for v, _ in o.options] for o in self.controls)))


@dataclass(frozen=True)
class Table:
    """Texts in columns; the first ``labels`` columns name the row, the others hold numbers and are set to the right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int
