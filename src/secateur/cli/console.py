"""The terminal: a live table of rows with progress bars, the answer at the end, the registry."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live as RichLive
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column, Table

from secateur.core import registry
from secateur.core.progress import Progress
from secateur.core.terminal import Terminal
from secateur.core.text import percent
from secateur.experiment.export_run import Done
from secateur.experiment.single.prune import CutNetwork
from secateur.files.exporters import Exported
from secateur.files.exporters._verify import COARSE
from secateur.report import Report
from secateur.report import pruned as cut_report

TITLES = {"train": "training", "scan": "scanning", "measure": "measuring", "time": "timing",
          "cut": "cutting"}
ROOM = 4
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
        line = self._rows.pop(key, {"accuracy": [], "loss": [], "parameters": [], "speed": {}})
        self._rows[key] = line
        if "refused" in figures:
            where = f"{settings['granularity']} at {percent(settings['sparsity'])}"
            self.console.print(f"left out: the best cut of {where}: {figures['refused']}", soft_wrap=True,
                               markup=False)
        for name in ("accuracy", "loss"):
            if name in figures:
                line[name].append(figures[name])
        if "nonzeros" in figures:
            line["parameters"].append(figures["nonzeros"])
        for batch, variants in (figures.get("latency") or {}).items():
            fastest = variants.get("sparse") or variants["small"]
            line["speed"].setdefault(batch, []).append(fastest["speedup"])

    def _render(self) -> RenderableType:
        """The bars, and below them the rows that the terminal has room for, the latest; at the end all."""
        room = len(self._rows) if self._over else max(1, self.console.height - len(self._bars.tasks) - ROOM)
        latest = dict(list(self._rows.items())[-room:])
        return Group(self._bars, *([points_table(latest)] if latest else []))


def points_table(rows: dict[tuple[str, str, str, str, float], dict[str, Any]]) -> Table:
    """The rows so far: means over the seeds."""
    batches = sorted({b for line in rows.values() for b in line["speed"]}, key=int)
    table = Table("cut", "by", "scope", "recovery", "sparsity", "accuracy", "loss", "non-zero weights",
                  *(f"speed-up, batch {b}" for b in batches), box=None, header_style="bold")
    for (granularity, criterion, scope, recovery, sparsity), line in rows.items():
        speeds = (f"{mean(line['speed'].get(b, [])):.2f}" if line["speed"].get(b) else "" for b in batches)
        table.add_row(granularity, criterion, scope, recovery, percent(sparsity), *_figures(line), *speeds,
                      style=COLOURS.get(granularity, ""))
    return table


def _figures(line: dict[str, Any]) -> list[str]:
    return [f"{mean(line[n]):{form}}" if line[n] else "" for n, form in
            (("accuracy", ".4f"), ("loss", ".4f"), ("parameters", ",.0f"))]


def mean(values: list[float]) -> float:
    """The mean, NaN where there is none."""
    return sum(values) / len(values) if values else float("nan")


def tell(report: Report, console: Terminal | None = None) -> None:
    """Print the report's first sentence and where its files are."""
    console = console or Terminal()
    console.print(report.headline, soft_wrap=True, markup=False)
    for path in report.files:
        if path.suffix not in (".png", ".svg"):
            console.print(f"  {path}", soft_wrap=True, highlight=False, markup=False)


def tell_cut(done: CutNetwork, console: Terminal | None = None) -> None:
    """Print what one cut cost and bought, whether it pays, and where the file is."""
    console = console or Terminal()
    console.print(str(done.plan).partition("\n")[0], soft_wrap=True, highlight=False, markup=False)
    for text in (str(done.comparison), cut_report.verdict(done), *(f"note: {n}" for n in cut_report.remarks(done)),
                 cut_report.how_to_load(done)):
        console.print(text, soft_wrap=True, highlight=False, markup=False)


def print_registry(console: Terminal | None = None) -> None:
    """Every item of every room, with its file."""
    console = console or Terminal()
    for room, word in registry.ROOMS.items():
        console.print(f"[bold]{word}[/bold]")
        for name, path in registry.files(room).items():
            form = f", {registry.get(room, name).form}" if room == "loaders" else ""
            where = f"secateur/{path.relative_to(registry.ROOT).as_posix()}"
            console.print(f"  {name:<16} {where}{form}", highlight=False, soft_wrap=True)


def tell_export(done: Done, console: Terminal | None = None) -> None:
    """Print what was written, how it was checked, and what a user should know."""
    console = console or Terminal()
    for line in lines(done):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def lines(done: Done) -> list[str]:
    """The lines."""
    found = [f"{done.what}: {done.path}"]
    if done.written is not None:
        found += _export_lines(done.written)
    if done.accuracy is not None:
        found.append(f"test accuracy of the file {done.accuracy[0]:.4f}, of the run's row {done.accuracy[1]:.4f}")
    return [*found, *(f"note: {note}" for note in done.notes)]


def _export_lines(written: Exported) -> list[str]:
    """Bytes, inputs, check."""
    sizes = ", ".join(f"{name} {size:,} bytes" for name, size in written.files.items())
    seconds = sum(written.seconds.values())
    found = [f"{sizes}, written and checked in {seconds:.1f} s"]
    found += [f"takes {written.inputs}"] if written.inputs else []
    check = written.checked
    if check is None:
        return [*found, "read back: every tensor is the network's, bit for bit"]
    rows = ", ".join(str(n) for n in dict.fromkeys(check.batches))
    compared = f"run with {written.runtime} on batches of {rows}: "
    if check.error > check.allowed:
        same = f", the same greatest output in {check.same:.1%} of {check.rows} rows" if check.same is not None else ""
        return [*found, f"{compared}outputs {check.distance:.2%} off in length (int8: allowed {COARSE:.0%}){same}"]
    return [*found, f"{compared}outputs {check.error:.1e} off the truth of float64, relative to the greatest "
            f"(allowed {check.allowed:.1e})"]
