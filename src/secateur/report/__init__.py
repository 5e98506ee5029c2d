"""A finished run as figures, a page, a summary and tables. A plot returns data, renderers draw it."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from secateur.core import paths
from secateur.core.errors import MissingExtraError
from secateur.experiment.run import RunData
from secateur.experiment.store import FIGURES
from secateur.report import provenance
from secateur.report.gather import gather_results
from secateur.report.provenance import Report
from secateur.report.render import csv as export_rows
from secateur.report.render import markdown, matplotlib_, page
from secateur.report.sentences import headline

__all__ = ["PACKAGES", "Report", "check_installed", "write"]

PACKAGES = ("matplotlib", "scipy", "jinja2")
"""The packages that every report needs."""


def write(run: RunData, folder: Path | None = None, csv: bool = False, parquet: bool = False,
          anew: bool = True, page_only: bool = False) -> Report:
    """Write the report of a run: the same run gives the same files.

    Args:
        run: what ``secateur.load_run`` gives.
        folder: where to write; by default the run's own folder.
        csv, parquet: whether to write the rows too.
        anew: draw again even where the files are there, made of the same rows.
        page_only: write ``report.html`` alone, of a run that is still growing.

    Returns:
        The report's first sentence and its files: ``report.html``, ``summary.md``, but for a draft
        ``figures/*.png`` and ``.svg``, and ``rows.csv`` and ``rows.parquet`` if asked for.

    Raises:
        RunError: the run is empty, or the folder cannot be written.
        MissingExtraError: Matplotlib, SciPy, Jinja2 or, for Parquet, PyArrow is not installed.
    """
    check_installed(parquet)
    place = Path(folder or run.folder)
    report = None if anew else provenance.current(run, place)
    if report is None:
        results = gather_results(run)
        if page_only:
            return Report(headline(results), [paths.write(place / "report.html", page.render(results))], results)
        # A draft is to be there in a minute, and its pictures would take a tenth of that.
        figures = [] if run.draft else matplotlib_.write(results, place / FIGURES)
        report = Report(headline(results), [paths.write(place / "report.html", page.render(results)),
                                            paths.write(place / "summary.md", markdown.render(results, figures)),
                                            *figures], results)
        provenance.write(run, place, report)
    rows = [export_rows.write_csv(run, place / "rows.csv")] if csv else []
    rows += [export_rows.write_parquet(run, place / "rows.parquet")] if parquet else []
    return replace(report, files=[*report.files, *rows])


def check_installed(parquet: bool = False) -> None:
    """Refuse before any work is done where a package of the report is missing.

    Raises:
        MissingExtraError: it names the package and the command that installs it.
    """
    for module in (*PACKAGES, *["pyarrow"] * parquet):
        if find_spec(module) is None:
            raise MissingExtraError(module, "report", "the report")
