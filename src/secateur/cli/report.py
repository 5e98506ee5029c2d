"""``secateur report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from secateur.cli.app import MEASURE
from secateur.cli.flags import command
from secateur.cli.start import start
from secateur.core.errors import failing
from secateur.core.text import say
from secateur.experiment.config import ReportOptions
from secateur.experiment.store import FILE, check_there


@command("report", ReportOptions, panel=MEASURE, examples=("secateur report runs/mlp-mnist --csv",))
def report(settings: dict[str, Any], run: Annotated[Path, typer.Argument(help="the folder of a run")]) -> None:
    """Write the report of a run again from its stored results."""
    check_there(run)
    start(f"report: {run}")
    from secateur import report as reports
    from secateur.cli.answer import tell
    from secateur.core.terminal import Terminal
    from secateur.experiment.run import load_run

    options = ReportOptions.make(settings)
    reports.check_installed(parquet=options.parquet)
    run_data = load_run(run)
    with failing(f"the rows of '{run / FILE}' cannot be drawn", "one of them is damaged: run secateur study again into "
                 "another folder (--out)"):
        with Terminal().status("drawing the figures"):
            written = reports.write(run_data, csv=options.csv, parquet=options.parquet)
        tell(written, run_data)
    for note in run_data.unread:
        say(f"note: {note}")
