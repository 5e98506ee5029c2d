"""A finished run as figures, a page, a summary and tables. A plot returns data, renderers draw it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from secateur.errors import MissingExtraError
from secateur.report import export_rows, figures, files, page, stamp, summary
from secateur.report.answer import sentence
from secateur.report.gather import digest
from secateur.report.stamp import Report
from secateur.run_data import RunData

__all__ = ["Report", "check_installed", "write"]

NEEDED = ("matplotlib", "plotly", "scipy")


def write(run: RunData, folder: Path | None = None, csv: bool = False, parquet: bool = False,
          anew: bool = True) -> Report:
    """Write the report of a run: the same run gives the same files.

    Args:
        run: what ``secateur.load_run`` gives.
        folder: where to write; by default the run's own folder.
        csv, parquet: whether to write the rows too.
        anew: draw again even where the files are there, made of the same rows.

    Returns:
        The report's first sentence and its files: ``report.html``, ``summary.md``, ``figures/*.png`` and
        ``figures/*.svg``, and ``rows.csv`` and ``rows.parquet`` if asked for.

    Raises:
        RunError: the run is empty, or the folder cannot be written.
        MissingExtraError: Matplotlib, Plotly, SciPy or, for Parquet, PyArrow is not installed.
    """
    check_installed(parquet)
    place = Path(folder or run.folder)
    report = None if anew else stamp.current(run, place)
    if report is None:
        report = drawn(run, place)
        stamp.write(run, place, report)
    rows = [export_rows.write_csv(run, place / "rows.csv")] if csv else []
    rows += [export_rows.write_parquet(run, place / "rows.parquet")] if parquet else []
    return Report(report.headline, [*report.files, *rows])


def drawn(run: RunData, place: Path) -> Report:
    """Draw the figures, the page and the summary."""
    found = digest(run)
    shown = figures.write(found, place / "figures")
    return Report(sentence(found), [files.write(place / "report.html", page.render(found)),
                                    files.write(place / "summary.md", summary.render(found, shown)), *shown])


def check_installed(parquet: bool = False) -> None:
    """Refuse before any work is done where a package of the report is missing.

    Raises:
        MissingExtraError: it names the package and the command that installs it.
    """
    for module in (*NEEDED, *["pyarrow"] * parquet):
        if find_spec(module) is None:
            raise MissingExtraError(module, "report", "the report")
