"""``secateur study``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from secateur.cli.app import MEASURE
from secateur.cli.flags import command
from secateur.cli.start import start
from secateur.core import interruption
from secateur.core.interruption import command_line
from secateur.core.settings import check_forms, read_toml
from secateur.experiment.config import RunOptions, StudyConfig, configure


@command("study", StudyConfig, RunOptions, panel=MEASURE, examples=(
    "secateur study --quick", "secateur study --model lenet-300-100 --data digits --sparsity 0,0.5,0.9 --seeds 1",
    "secateur study --model mypackage.nets:make --data samples.npz --granularity neuron --criterion l2,random",
    "secateur study --config study.toml --jobs 2"))
def study(
    settings: dict[str, Any],
    config: Annotated[Path | None, typer.Option(help="TOML file with any of the settings; flags override it")] = None,
) -> None:
    """Train a network, cut it at every sparsity, measure what the cut costs and buys, and report it.

    Results that are already in the run's folder are not computed again.
    """
    file = read_toml(config) if config else {}
    check_forms((StudyConfig, RunOptions), file, settings)
    given = {"model": StudyConfig.model, "data": StudyConfig.data, **file, **settings}
    start(f"study: {given['model']} on {given['data']}", given["data"], given.get("weights"))
    from secateur import report
    from secateur.cli.answer import tell
    from secateur.cli.live import Live
    from secateur.core.terminal import Terminal
    from secateur.experiment.run import RunData
    from secateur.experiment.study import study as run_study

    study_config, options = configure(file, settings)
    report.check_installed(parquet=options.parquet)

    def grow(run: RunData) -> Path:
        """Write the page alone: it is read while the study goes on."""
        page = report.write(run, page_only=True).files[0]
        interruption.leave(f"the report so far is {page.resolve().as_uri()}")
        return page

    with Live(tolerance=study_config.tolerance) as live:
        run = run_study(config=study_config, out=options.out or None, jobs=options.jobs, backend=options.backend,
                        address=options.address, progress=live, command=command_line(), report=grow)
    with Terminal().status("writing the report"):
        written = report.write(run, csv=options.csv, parquet=options.parquet, anew=False)
    tell(written, run)
