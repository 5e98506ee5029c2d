"""The end of a study in the terminal: the answer, a table of four rows, where the report is, what to type next."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from secateur.cli.help import shell_lines
from secateur.cli.points import COLOURS, accuracy_text, columns_of, shown_batches
from secateur.core import text
from secateur.core.terminal import Terminal
from secateur.core.text import folded
from secateur.experiment.run import RunData
from secateur.measure.noise import LEGEND, MARK
from secateur.report import Report
from secateur.report.conclusions import AnswerRow, answer_rows, rival_row
from secateur.report.gather import gather_results


def tell(report: Report, run: RunData, console: Terminal | None = None) -> None:
    """Print the answer of a run: a sentence, what can be removed, where the report is, what to type next."""
    console = console or Terminal()
    results = report.results or gather_results(run)
    rows = answer_rows(results)
    shown = [*filter(None, [rival_row(results)]), *rows]
    print_lines(["", report.headline, ""], console)
    if rows:
        console.print(answer_table(shown, console.width))
        marked = any(MARK in speed.shown for row in rows for _, speed in row.speeds)
        untimed = any(row.method.bits != 32 and not row.speeds for row in shown) and bool(results.batches)
        print_lines([*["–: not timed"] * untimed, *[LEGEND] * marked, ""], console)
    pages = {path.suffix: path for path in report.files if path.parent.name != "figures"}
    others = [str(path) for suffix, path in pages.items() if suffix != ".html"]
    print_lines([f"report: {pages['.html'].resolve().as_uri()}", f"also: {', '.join(others)}"], console)
    for what, command in next_commands(rows, run).items():
        print_lines([f"{what}:", shell_lines(command, console.width)], console)


def answer_table(rows: Sequence[AnswerRow], width: int) -> Table:
    """How many weights and neurons can be removed, plain and recovered, and what that buys."""
    batches = shown_batches({batch for row in rows for batch, _ in row.speeds})
    made = columns_of(batches, width)
    made.columns[0].header, made.columns[1].header = "what is cut", "removable"
    both = {row.method.granularity for row in rows if row.recovery}
    for row in rows:
        name, speeds = _name(row, row.method.granularity in both), dict(row.speeds)
        if row.sparsity is None or row.accuracy is None or row.size is None:
            made.add_row(Text(name), "nothing")
            continue
        untimed = "–" if row.method.bits != 32 else ""
        half = (row.accuracy.high - row.accuracy.low) / 2
        made.add_row(Text(name), ("" if row.is_sure else "probably ") + text.percent(row.sparsity),
                     accuracy_text(row.accuracy.mean, half if math.isfinite(half) else math.nan),
                     text.percent(row.size), *(speeds[b].shown if b in speeds else untimed for b in batches),
                     style=COLOURS.get(row.method.granularity, ""))
    return made


def _name(row: AnswerRow, has_twin: bool) -> str:
    """What is cut and how; whether it is recovered only where there is the same without."""
    m = row.method
    if not m.granularity:
        return m.name
    bits = "" if m.bits == 32 else f", {text.bits_name(m.bits)}"
    return text.noun(m.granularity) + (", recovered" if row.recovery else ", plain" if has_twin else "") + bits


def next_commands(rows: Sequence[AnswerRow], run: RunData) -> dict[str, str]:
    """What to type next: the whole study after a draft; the best network as a file; a network of one's own."""
    best = max((row for row in rows if row.sparsity), key=lambda row: (row.sparsity or 0, -row.method.bits),
               default=None)
    study = shlex.join(["secateur", "study", "--model", run.config["model"], "--data", run.config["data"]])
    whole = {"next, run the whole study": study} if run.config.get("draft") else {}
    if best is None or best.sparsity is None:
        return whole
    m = best.method
    flags = {"granularity": m.granularity, "sparsity": f"{best.sparsity:g}", "criterion": m.criterion, "scope": m.scope,
             "recovery": m.recovery, **({} if m.bits == 32 else {"bits": str(m.bits)})}
    words = [word for name, value in flags.items() for word in (f"--{name}", value)]
    own = f"secateur prune mypackage.nets:make --data samples.npz --sparsity {best.sparsity:g}"
    return {**whole, "save that network to a file": shlex.join(["secateur", "export", str(run.folder), *words]),
            "prune your own model": own}


def print_lines(lines: Iterable[str], console: Terminal | None = None) -> None:
    """Print lines as they are, because paths and names may hold what rich takes for markup; what is too long for a
    terminal goes on below, elsewhere each stays whole."""
    console = console or Terminal()
    for line in lines:
        whole = folded(line, console.width) if console.is_terminal else line
        console.print(whole, soft_wrap=True, highlight=False, markup=False)
