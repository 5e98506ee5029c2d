"""What commands print at their end: what one cut cost and bought, what was exported."""

from __future__ import annotations

from secateur.cli.answer import print_lines
from secateur.core.terminal import Terminal
from secateur.experiment.export_run import Done
from secateur.experiment.single.prune import CutNetwork
from secateur.files.exporters import Exported
from secateur.files.exporters._verify import COARSE
from secateur.recovery import stages
from secateur.report import pruned as cut_report


def tell_cut(result: CutNetwork, console: Terminal | None = None) -> None:
    """Print what one cut cost and bought, whether it pays, and where the file is."""
    console = console or Terminal()
    width = console.width if console.is_terminal else 0
    figures, steps = result.comparison.table(width), stages.table(result.stages, width)
    steps = "\n".join(filter(None, [steps, cut_report.quantizing(result, width)]))
    searched = [result.search.table(width), ""] if result.search else []
    print_lines([*searched, cut_report.title(result), *filter(None, [steps]), figures, cut_report.verdict(result),
                  *(f"note: {note}" for note in cut_report.remarks(result)), cut_report.how_to_load(result)], console)


def tell_export(result: Done, console: Terminal | None = None) -> None:
    """Print what was written, how it was checked, and what a user should know."""
    is_page = result.path.suffix == ".html"
    lines = [f"{result.what}: {result.path.resolve().as_uri() if is_page else result.path}"]
    if result.written is not None:
        lines += _export_lines(result.written)
    if result.accuracy is not None:
        lines.append(f"test accuracy: {result.accuracy[0]:.4f} for the file, {result.accuracy[1]:.4f} in the run")
    print_lines([*lines, *(f"note: {note}" for note in result.notes)], console)


def _export_lines(export: Exported) -> list[str]:
    """What a file holds and takes, and how it was checked."""
    sizes = ", ".join(f"{name} {size:,} bytes" for name, size in export.files.items())
    seconds = sum(export.seconds.values())
    texts = [f"{sizes}, written and checked in {seconds:.1f} s"]
    texts += [f"inputs: {export.inputs}"] if export.inputs else []
    texts += [export.suits] if export.suits else []
    check = export.checked
    if check is None:
        return [*texts, "read back: every tensor matches the network's, bit for bit"]
    rows = ", ".join(str(n) for n in dict.fromkeys(check.batches))
    comparison = f"run with {export.runtime} on batches of {rows}: "
    if check.error > check.allowed:
        same = f", same largest output in {check.same:.1%} of {check.rows} rows" if check.same is not None else ""
        return [*texts, f"{comparison}relative error of the outputs {check.distance:.2%} (allowed for int8: "
                        f"{COARSE:.0%}){same}"]
    return [*texts, f"{comparison}error of the outputs against {check.against} {check.error:.1e} of the largest "
            f"output (allowed {check.allowed:.1e})"]
