"""The terminal: a live table of rows with progress bars, the answer at the end, the registry."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live as RichLive
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column, Table

from secateur.core.progress import Progress
from secateur.core.terminal import Terminal
from secateur.core.text import percent
from secateur.experiment.export_run import Done
from secateur.experiment.single.prune import CutNetwork
from secateur.files.exporters import Exported
from secateur.files.exporters._verify import COARSE
from secateur.measure.noise import LEGEND, MARK
from secateur.measure.speed import Speed, mean_speed, speeds
from secateur.report import Report
from secateur.report import pruned as cut_report

TITLES = {"train": "training", "scan": "scanning", "measure": "measuring", "time": "timing", "time again": "retiming",
          "cut": "cutting"}
_ROOM = 5
"""Lines of a terminal that the table leaves free, for its own head, what its marks mean and what was printed above."""
COLOURS = {"weight": "red", "neuron": "blue"}


class Live(Progress):
    """Shows a study while it runs: on a terminal a table that grows and a bar with the time left,
    elsewhere a line a network and a line a stage."""

    def __init__(self, console: Terminal | None = None):
        self.console = console or Terminal()
        self._bars = Bars(TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                          TextColumn("left"), TimeRemainingColumn(),
                          TextColumn("{task.fields[latest]}", table_column=Column()))
        self._bar: Any = None
        self._rows: dict[tuple[str, str, str, str, float], dict[str, Any]] = {}
        self._over = False
        self._live = RichLive(get_renderable=self._render, console=self.console, refresh_per_second=4,
                              vertical_overflow="ellipsis")

    def __enter__(self) -> Live:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._over = True
            self._live.vertical_overflow = "visible"
            self._live.stop()

    def stage(self, name: str, total: int) -> None:
        """Start a bar; a stage with nothing to do has none."""
        self._bar = self._bars.add_task(TITLES[name], total=total, latest="") if total else None
        if total and not self.console.is_terminal:
            self.console.print(f"{TITLES[name]}: {total} step{'' if total == 1 else 's'}")

    def step(self) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bars.advance(self._bar)

    def epoch(self, record: dict[str, Any]) -> None:
        """Show an epoch's mean loss and accuracy beside the bar."""
        text = f"epoch {record['epoch']}: loss {record['loss']:.4f}, accuracy {record['accuracy']:.4f}"
        if self._bar is not None:
            self._bars.update(self._bar, latest=text)
        if not self.console.is_terminal:
            self.console.print(text)

    def trained(self, record: dict[str, Any]) -> None:
        """Print a line for a network."""
        self.console.print(f"network {record['seed']}: {record['parameters']:,} parameters, test accuracy "
                           f"{record['accuracy']:.4f}, loss {record['loss']:.4f}")

    def point(self, settings: dict[str, Any], figures: dict[str, Any]) -> None:
        """Add a point to its line of the table."""
        key = (settings["granularity"], settings["criterion"], settings["scope"], settings.get("recovery", "none"),
               settings["sparsity"])
        line = self._rows.pop(key, {"accuracy": [], "loss": [], "nonzeros": [], "speed": {}})
        self._rows[key] = line
        if "refused" in figures:
            where = f"{settings['granularity']} at {percent(settings['sparsity'])}"
            self.console.print(f"left out: the best cut of {where}: {figures['refused']}", soft_wrap=True,
                               markup=False)
        for name in ("accuracy", "loss", "nonzeros"):
            if name in figures:
                line[name].append(figures[name])
        if figures.get("latency"):
            for batch, (_, speed) in speeds(figures).items():
                # A point that is timed again replaces what it was.
                line["speed"].setdefault(batch, {})[settings["seed"]] = speed

    def _render(self) -> RenderableType:
        """The bars, and below them the rows that the terminal has room for, the latest; at the end all."""
        room = len(self._rows) if self._over else max(1, self.console.height - len(self._bars.tasks) - _ROOM)
        latest = dict(list(self._rows.items())[-room:])
        noisy = any(_mean_ratio(found).endswith(MARK) for line in latest.values() for found in line["speed"].values())
        return Group(self._bars, *([points_table(latest)] if latest else []), *([LEGEND] if noisy else []))


def points_table(rows: dict[tuple[str, str, str, str, float], dict[str, Any]]) -> Table:
    """The rows so far: means over the seeds."""
    batches = sorted({b for line in rows.values() for b in line["speed"]}, key=int)
    table = Table("cut", "by", "scope", "recovery", "sparsity", "accuracy", "loss", "non-zero weights",
                  *(f"speed-up, batch {b}" for b in batches), box=None, header_style="bold")
    for (granularity, criterion, scope, recovery, sparsity), line in rows.items():
        ratios = (_mean_ratio(line["speed"][b]) if b in line["speed"] else "" for b in batches)
        table.add_row(granularity, criterion, scope, recovery, percent(sparsity), *_figures(line), *ratios,
                      style=COLOURS.get(granularity, ""))
    return table


def _mean_ratio(by_seed: dict[int, Speed]) -> str:
    """The speed-up over the seeds, marked where it is noisy."""
    return mean_speed([*by_seed.values()], 1.0).shown


def _figures(line: dict[str, Any]) -> list[str]:
    return [f"{fmean(line[n]):{form}}" if line[n] else "" for n, form in
            (("accuracy", ".4f"), ("loss", ".4f"), ("nonzeros", ",.0f"))]


def _print_lines(lines: Iterable[str], console: Terminal | None) -> None:
    """Print lines unbroken and as they are, because paths and names may hold what rich takes for markup."""
    console = console or Terminal()
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def tell(report: Report, console: Terminal | None = None) -> None:
    """Print the report's first sentence and where its files are."""
    pages = [path for path in report.files if path.suffix not in (".png", ".svg")]
    _print_lines([report.headline, *(f"  {path}" for path in pages)], console)


def tell_cut(result: CutNetwork, console: Terminal | None = None) -> None:
    """Print what one cut cost and bought, whether it pays, and where the file is."""
    _print_lines([str(result.plan).partition("\n")[0], str(result.comparison), cut_report.verdict(result),
                  *(f"note: {note}" for note in cut_report.remarks(result)), cut_report.how_to_load(result)], console)


def tell_export(result: Done, console: Terminal | None = None) -> None:
    """Print what was written, how it was checked, and what a user should know."""
    lines = [f"{result.what}: {result.path}"]
    if result.written is not None:
        lines += _export_lines(result.written)
    if result.accuracy is not None:
        lines.append(f"test accuracy of the file {result.accuracy[0]:.4f}, of the run's row {result.accuracy[1]:.4f}")
    _print_lines([*lines, *(f"note: {note}" for note in result.notes)], console)


def _export_lines(export: Exported) -> list[str]:
    """What a file holds and takes, and how it was checked."""
    sizes = ", ".join(f"{name} {size:,} bytes" for name, size in export.files.items())
    seconds = sum(export.seconds.values())
    texts = [f"{sizes}, written and checked in {seconds:.1f} s"]
    texts += [f"takes {export.inputs}"] if export.inputs else []
    check = export.checked
    if check is None:
        return [*texts, "read back: every tensor is the network's, bit for bit"]
    rows = ", ".join(str(n) for n in dict.fromkeys(check.batches))
    comparison = f"run with {export.runtime} on batches of {rows}: "
    if check.error > check.allowed:
        same = f", the same greatest output in {check.same:.1%} of {check.rows} rows" if check.same is not None else ""
        return [*texts, f"{comparison}outputs {check.distance:.2%} off in length (int8: allowed {COARSE:.0%}){same}"]
    return [*texts, f"{comparison}outputs {check.error:.1e} off the truth of float64, relative to the greatest "
            f"(allowed {check.allowed:.1e})"]
