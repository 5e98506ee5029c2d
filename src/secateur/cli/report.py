"""``secateur report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateur.cli.app import Debug, app


@app.command("report")
def report_command(
    run: Annotated[Path, typer.Argument(help="the folder of a run")],
    csv: Annotated[bool, typer.Option("--csv", help="also write rows.csv")] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="also write rows.parquet")] = False,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """Write the report of a run again from its rows."""
    from secateur import report
    from secateur.cli.console import tell
    from secateur.experiment.run import load_run

    report.check_installed(parquet=parquet)
    loaded = load_run(run)
    tell(report.write(loaded, csv=csv, parquet=parquet))
