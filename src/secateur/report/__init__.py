"""A finished run as figures, a page, a summary and tables. A plot returns data, renderers draw it."""

from __future__ import annotations

from pathlib import Path

from secateur.report import export_rows, figures, files, page, summary
from secateur.report.answer import sentence
from secateur.report.extras import need
from secateur.report.gather import digest
from secateur.run_data import RunData

__all__ = ["check_installed", "headline", "write"]

NEEDED = ("matplotlib", "plotly", "scipy")


def write(run: RunData, folder: Path | None = None, csv: bool = False, parquet: bool = False) -> list[Path]:
    """Write the report of a run: the same run gives the same files.

    Args:
        run: what ``secateur.store.load_run`` gives.
        folder: where to write; by default the run's own folder.
        csv, parquet: whether to write the rows too.

    Returns:
        The files: ``report.html``, ``summary.md``, ``figures/*.png`` and ``figures/*.svg``, and ``rows.csv``
        and ``rows.parquet`` if asked for.

    Raises:
        RunError: the run is empty, or the folder cannot be written.
        MissingExtraError: Matplotlib, Plotly, SciPy or, for Parquet, PyArrow is not installed.
    """
    check_installed(parquet)
    found, place = digest(run), Path(folder or run.folder)
    drawn = figures.write(found, place / "figures")
    written = [files.write(place / "report.html", page.render(found)),
               files.write(place / "summary.md", summary.render(found, drawn)), *drawn]
    written += [export_rows.write_csv(run, place / "rows.csv")] if csv else []
    return written + ([export_rows.write_parquet(run, place / "rows.parquet")] if parquet else [])


def check_installed(parquet: bool = False) -> None:
    """Refuse before any work is done where a package of the report is missing.

    Raises:
        MissingExtraError: it names the package and the command that installs it.
    """
    for module in (*NEEDED, *["pyarrow"] * parquet):
        need(module)


def headline(run: RunData) -> str:
    """The report's first sentence: how much can go within the tolerance, and what it buys."""
    return sentence(digest(run))
