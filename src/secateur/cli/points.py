"""The points of a study as a table of the best, while they come in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from statistics import fmean, stdev
from typing import Any

from rich.table import Table
from rich.text import Text

from secateur.core import text
from secateur.measure.chance import unseen
from secateur.measure.noise import LEGEND, MARK
from secateur.measure.speed import Speed, mean_speed, speeds

COLOURS = {"weight": "red", "neuron": "blue"}
SHOWN_BATCHES = ("1", "64")
_NORMAL_95 = 1.96
_STUDENT_95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)
"""Student's 0.975 quantiles for 1 to 9 degrees of freedom; the normal one from there on."""

_WIDE = 72
"""Columns of a terminal from which two blanks stand between those of a table."""

Names = tuple[str, str, str, str, int]
"""Granularity, criterion, scope, recovery, bits."""


@dataclass
class Line:
    """One cut at one sparsity: its figures by seed; a control is a baseline rather than a cut to take."""

    names: Names
    sparsity: float
    accuracy: dict[int, float] = field(default_factory=dict)
    bytes: dict[int, float] = field(default_factory=dict)
    tests: int = 0
    control: bool = False
    speed: dict[str, dict[int, Speed]] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """The mean accuracy over the seeds."""
        return fmean(self.accuracy.values())

    @property
    def size(self) -> float:
        """The mean size in bytes over the seeds."""
        return fmean(self.bytes.values())

    def add(self, seed: int, figures: Mapping[str, Any]) -> None:
        """Take what was measured, or timed."""
        if "accuracy" in figures:
            self.accuracy[seed], self.tests = figures["accuracy"], figures.get("tests", 0)
            self.control = figures.get("control", False)
            sparse = "bytes" if self.names[0] == "neuron" else "bytes_sparse"
            self.bytes[seed] = figures.get("bytes_file") or figures.get(sparse) or math.nan
        if figures.get("latency"):
            for batch, (_, speed) in speeds(figures).items():
                # A point that is timed again replaces what it was.
                self.speed.setdefault(batch, {})[seed] = speed


def half_interval(accuracies: Sequence[float], tests: int) -> float:
    """Half of the 95 % interval of a mean accuracy, over networks and test samples; networks that are right on all
    test samples may be wrong on others.

    >>> round(half_interval([0.9], 100), 4), round(half_interval([0.97, 0.98, 0.99], 0), 4)
    (0.0588, 0.0248)
    >>> round(half_interval([1.0], 100), 4)
    0.0362
    """
    mean, count = fmean(accuracies), len(accuracies)
    student = _STUDENT_95[count - 2] if 2 <= count < len(_STUDENT_95) + 2 else _NORMAL_95
    networks = student * stdev(accuracies) / math.sqrt(count) if count > 1 else 0.0
    samples = _NORMAL_95 * math.sqrt(mean * (1 - mean) / tests) if tests else 0.0
    return max(math.hypot(networks, samples), unseen(tests) if tests else 0.0)


class Points:
    """The points of a study that have come in; ``original`` is the mean accuracy of the trained networks."""

    def __init__(self, tolerance: float):
        self.tolerance = tolerance
        self._trained: dict[int, tuple[float, int]] = {}
        self._lines: dict[tuple[Names, float], Line] = {}

    def trained(self, seed: int, accuracy: float, parameters: int) -> None:
        """Take a trained network."""
        self._trained[seed] = accuracy, parameters

    def add(self, settings: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
        """Take a point."""
        names = (settings["granularity"], settings["criterion"], settings["scope"], settings.get("recovery", "none"),
                 settings.get("bits", 32))
        line = self._lines.setdefault((names, settings["sparsity"]), Line(names, settings["sparsity"]))
        line.add(settings["seed"], figures)

    def best(self, count: int) -> list[Line]:
        """The best cuts, the granularities in turn: within the tolerance the smallest, then the most accurate."""
        cut = [line for line in self._lines.values() if line.sparsity > 0 and line.accuracy
               and not line.control]
        kinds = dict.fromkeys(line.names[0] for line in cut)
        ranked = [sorted((line for line in cut if line.names[0] == kind), key=self._rank) for kind in kinds]
        return [line for row in zip_longest(*ranked) for line in row if line is not None][:count]

    def _rank(self, line: Line) -> tuple[bool, float]:
        """Sorts a line among those of its granularity."""
        within = line.mean >= self._least
        return not within, line.size if within else -line.mean

    @property
    def _least(self) -> float:
        """The accuracy that is within the tolerance."""
        return fmean(a for a, _ in self._trained.values()) - self.tolerance if self._trained else 1.0

    @property
    def _original_bytes(self) -> float:
        """The size of the original network in float32."""
        return 4 * fmean(n for _, n in self._trained.values()) if self._trained else math.nan

    def caption(self) -> str:
        """What the table shows."""
        if not self._trained:
            return "best so far"
        whole = text.percent(fmean(a for a, _ in self._trained.values()), 2)
        return (f"best so far: the smallest within {100 * self.tolerance:g} points of {whole}, then the most accurate"
                f"{self._alone()}")

    def _alone(self) -> str:
        """The uncut network in eight bits, with which every cut is compared; nothing before it is measured."""
        found = next((line for (names, sparsity), line in self._lines.items() if not sparsity and line.accuracy
                      and names[3] == "none" and names[4] == 8), None)
        if found is None:
            return ""
        return f"; int8 alone: {text.percent(found.mean, 2)}, size {text.percent(found.size / self._original_bytes)}"

    def table(self, count: int, width: int) -> Table:
        """The best lines, without what is the same in all lines."""
        lines = self.best(count)
        batches = shown_batches({b for line in self._lines.values() for b in line.speed})
        made = columns_of(batches, width)
        for line, name in zip(lines, distinct_names([line.names for line in lines]), strict=True):
            made.add_row(name, text.percent(line.sparsity), accuracy_text(line.mean, half_interval(
                [*line.accuracy.values()], line.tests)), text.percent(line.size / self._original_bytes),
                *(mean_speed([*line.speed[b].values()], 1.0).shown if b in line.speed else "" for b in batches),
                style=COLOURS.get(line.names[0], ""))
        return made

    def legend(self, count: int) -> list[str]:
        """What a mark in the table means; nothing where it has none."""
        shown = (mean_speed([*s.values()], 1.0).shown for line in self.best(count) for s in line.speed.values())
        return [LEGEND] if any(MARK in one for one in shown) else []


def shown_batches(measured: Iterable[str]) -> list[str]:
    """The batch sizes that a table shows: 1 and 64, or else the two smallest that were timed.

    >>> shown_batches({"1024", "64", "1"}), shown_batches({"16", "8", "1024"})
    (['1', '64'], ['8', '16'])
    """
    found = sorted(measured, key=int)
    return [b for b in SHOWN_BATCHES if b in found] or found[:2]


def columns_of(batches: Sequence[str], width: int) -> Table:
    """A table of cuts that fits into 60 columns; where they are too few only what names the cut is folded."""
    made = Table(box=None, header_style="bold", padding=(0, 2 if width >= _WIDE else 1, 0, 0), pad_edge=False)
    made.add_column("cut", overflow="fold")
    for head in ("removed", "accuracy ±", "size", *(f"speed at {b}" if i == 0 else f"at {b}"
                                                    for i, b in enumerate(batches))):
        made.add_column(head, justify="right", no_wrap=True)
    return made


def accuracy_text(mean: float, half: float) -> str:
    """An accuracy with half of its interval, in percent; no interval where there is none.

    >>> accuracy_text(0.9746, 0.0031), accuracy_text(0.5, math.nan)
    ('97.46% ±0.31', '50.00%')
    """
    return f"{100 * mean:.2f}%" + (f" ±{100 * half:.2f}" if math.isfinite(half) else "")


def distinct_names(rows: Sequence[Names]) -> list[Text]:
    """What is cut, of criterion, scope and recovery what is not the same in all rows, and fewer bits than 32.

    >>> [str(name) for name in distinct_names([("weight", "magnitude", "layer", "none", 32),
    ...                                        ("weight", "random", "layer", "best", 8)])]
    ['weights, magnitude', 'weights, random, best, int8']
    """
    vary = [len({row[i] for row in rows}) > 1 for i in range(1, 4)]
    return [Text(", ".join([text.noun(row[0]), *(part for part, different in zip(row[1:4], vary, strict=True)
                                                 if different and part != "none"),
                            *([text.bits_name(row[4])] if row[4] != 32 else [])])) for row in rows]
