"""What a study or a cut shows while it runs: on a terminal a bar and the best rows, elsewhere a line a minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live as RichLive
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from secateur.cli.points import Points
from secateur.core import text
from secateur.core.progress import Progress
from secateur.core.terminal import Terminal

TITLES = {"train": "training", "scan": "scanning", "measure": "measuring", "time": "timing", "time again": "retiming",
          "cut": "cutting", "search": "searching"}
_ROOM, _MOST = 7, 12
"""Lines of a terminal that the table leaves free: its head, bar, caption and legend, and what was printed above. And
how many rows it has at most."""
_MINUTE = 60.0
NOUNS = {"network": "networks", "scan": "scans", "point": "points", "timing": "timings"}


class Live(Progress):
    """Shows a study while it runs.

    Args:
        console: where; by default standard output.
        tolerance: the accuracy that may be lost, which decides what the best rows are.
        clock: gives the time in seconds.
    """

    def __init__(self, console: Terminal | None = None, tolerance: float = 0.005,
                 clock: Callable[[], float] = time.monotonic):
        self.console, self._clock = console or Terminal(), clock
        self._bars = Bars(TextColumn("{task.description:<9}"), BarColumn(20), MofNCompleteColumn(),
                          TextColumn("{task.fields[left]}"))
        self._bar: Any = None
        self._latest = self._left_text = ""
        self._end: float | None = None
        self._told, self._is_study = clock(), False
        self._reported: Path | None = None
        self._points = Points(tolerance)
        self._live = RichLive(get_renderable=self._render, console=self.console, refresh_per_second=4, transient=True,
                              vertical_overflow="ellipsis")

    def __enter__(self) -> Live:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self.console.is_terminal:
            self._live.stop()
        if kind is not None and self._points.best(1):
            self.console.print(self._best(_MOST))

    def outlook(self, found: Mapping[str, int], missing: Mapping[str, int], seconds: float | None) -> None:
        """Say what the folder holds already, and how long the rest is expected to take."""
        self._is_study = True
        self._say(outlook_text(found, missing, seconds))

    def stage(self, name: str, total: int) -> None:
        """Start a bar; a stage with nothing to do has none."""
        self._latest = ""
        for task in self._bars.task_ids:
            self._bars.remove_task(task)
        self._bar = self._bars.add_task(TITLES[name], total=total, left="") if total else None

    def step(self) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bars.advance(self._bar)
        self._say_each_minute()

    def left(self, seconds: float) -> None:
        """Show how long the rest of the study is expected to take."""
        self._end = self._clock() + seconds

    def epoch(self, record: dict[str, Any]) -> None:
        """Show an epoch's mean loss and accuracy below the bar."""
        self._latest = f"epoch {record['epoch']}: loss {record['loss']:.4f}, accuracy {record['accuracy']:.4f}"
        self._say_each_minute()

    def trained(self, record: dict[str, Any]) -> None:
        """Print a line for a network."""
        self._points.trained(record["seed"], record["accuracy"], record["parameters"])
        self._say(f"network {record['seed']}: {record['parameters']:,} parameters, test accuracy "
                  f"{record['accuracy']:.4f}, loss {record['loss']:.4f}")

    def point(self, settings: dict[str, Any], figures: dict[str, Any]) -> None:
        """Add a point to its line of the table."""
        if "refused" in figures:
            where = f"the best cut of {settings['granularity']} at {text.percent(settings['sparsity'])}"
            if settings.get("recovery", "none") == "none":
                where = f"the uncut network in {text.bits_name(settings['bits'])}"
            self._say(f"left out: {where}: {figures['refused']}")
        self._points.add(settings, figures)

    def reported(self, path: Path) -> None:
        """Say once where the report is, which grows with the study."""
        if self._reported is None:
            self._say(f"report so far, which grows with every stage: {path.resolve().as_uri()}")
        self._reported = path

    def _say(self, line: str) -> None:
        """Print a line above the bar."""
        whole = text.folded(line, self.console.width) if self.console.is_terminal else line
        self.console.print(whole, soft_wrap=True, markup=False, highlight=False)

    def _say_each_minute(self) -> None:
        """Without a terminal, say each minute how far the stage is."""
        if not self.console.is_terminal and self._bar is not None and self._clock() - self._told >= _MINUTE:
            self._told, task = self._clock(), self._bars.tasks[0]
            left = f", {self._time_left()}" if self._time_left() else ""
            self._say(f"{task.description}: {task.completed:.0f} of {task.total:.0f}{left}")

    def _time_left(self) -> str:
        """The time that is left of the study; of a single cut, which is not told of any, that of its stage."""
        if self._end is not None:
            return f"{text.rough_time(max(0.0, self._end - self._clock()))} left"
        seconds = self._bars.tasks[0].time_remaining if self._bars.tasks and not self._is_study else None
        return "" if seconds is None else f"{text.rough_time(seconds)} left"

    def _render(self) -> RenderableType:
        """The bar, what was said last, and the best rows that the terminal has room for."""
        if self._bar is not None:
            self._bars.update(self._bar, left=self._time_left())
        parts: list[RenderableType] = [self._bars, *([Text(self._latest)] if self._latest else [])]
        if self._points.best(1):
            parts.append(self._best(max(1, min(_MOST, self.console.height - _ROOM))))
        return Group(*parts)

    def _best(self, count: int) -> RenderableType:
        """The best rows, and what they are."""
        return Group(Text(self._points.caption(), style="dim"), self._points.table(count, self.console.width),
                     *(Text(line, style="dim") for line in self._points.legend(count)))


def outlook_text(found: Mapping[str, int], missing: Mapping[str, int], seconds: float | None) -> str:
    """What is there of a study, what is to be done, and how long that is expected to take.

    >>> outlook_text({"network": 1, "point": 27}, {"network": 2, "point": 33}, 240.0)
    'found 1 of 3 networks and 27 of 60 points; the rest takes about 4 minutes'
    >>> outlook_text({"point": 60, "timing": 7}, {"timing": 53}, 240.0)
    'found all 60 points and 7 of 60 timings; the rest takes about 4 minutes'
    >>> outlook_text({}, {"network": 3, "point": 60}, None)
    '3 networks and 60 points to go; the time for that is known after the first epochs'
    >>> outlook_text({"point": 60}, {"point": 0}, 0.0)
    'found all 60 points: nothing is left to do'
    """
    totals = {kind: found.get(kind, 0) + missing.get(kind, 0) for kind in NOUNS}
    kinds = [kind for kind, total in totals.items() if total]
    to_go = text.join_words([f"{missing.get(k, 0)} {_noun(k, missing.get(k, 0))}" for k in kinds if missing.get(k)])
    there = [f"{'all' if found[k] == totals[k] else f'{found[k]} of'} {totals[k]} {_noun(k, totals[k])}" for k in kinds
             if found.get(k)]
    if not to_go:
        return f"found all {text.join_words([f'{totals[k]} {_noun(k, totals[k])}' for k in kinds])}: nothing is left " \
               "to do"
    time_text = "the time for {} is known after the first epochs" if seconds is None else (
        "{} takes " + text.rough_time(seconds))
    if there:
        return f"found {text.join_words(there)}; {time_text.format('the rest')}"
    return f"{to_go} to go; {time_text.format('that')}"


def _noun(kind: str, count: int) -> str:
    return NOUNS[kind] if count != 1 else NOUNS[kind].removesuffix("s")
