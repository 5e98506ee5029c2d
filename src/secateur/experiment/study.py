"""A network cut at every point of a grid, over several trained networks, into rows, each computed once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from torch import nn

from secateur.core.errors import RunError
from secateur.core.progress import Progress
from secateur.data.datasets.base import Dataset
from secateur.experiment import backends
from secateur.experiment.combinations import check_settings_act
from secateur.experiment.config import RunOptions, StudyConfig
from secateur.experiment.grid import Grid, default_folder, load_grid, name_given
from secateur.experiment.run import RunData, load_run
from secateur.experiment.stages import run_stages
from secateur.experiment.store import FILE, Store
from secateur.experiment.sweep import Sweep, outputs_name

Report = Callable[[RunData], Path]
"""Writes the report of a run that is still growing, and says where it is."""


def study(make_model: Callable[[], nn.Module] | str | None = None, data: Dataset | str | None = None,
          config: StudyConfig | None = None, out: str | Path | None = None, jobs: int = 1, backend: str = "loky",
          address: str = "", progress: Progress | None = None, command: str = "",
          report: Report | None = None) -> RunData:
    """Train networks, cut them at every point of the grid, measure and time them. A resumed study keeps its results.

    The first network is trained, cut, measured and timed before the second one is trained.

    Args:
        make_model: a function that builds the network, or its name; by default ``config.model``.
        data: a data set, or its name; by default ``config.data``.
        config: every setting; see :class:`StudyConfig`.
        out: the run's folder, by default ``runs/MODEL-DATA``.
        jobs, backend, address: how the points are spread, see :class:`secateur.experiment.config.RunOptions`.
        progress: hears of every step.
        command: what a reader types to run the study again; by default made from the settings.
        report: writes a report; it is called whenever the run has grown by a stage, and where it is stopped.

    Returns:
        The run, read back from its folder.

    Raises:
        SecateurError: anything in the settings, network, data or folder that the caller can mend; points that were
            left out because workers died while they ran. Finished rows are kept.
    """
    config = name_given(config or StudyConfig(), make_model, data)
    check_settings_act(config)
    options = RunOptions(jobs=jobs, backend=backend, address=address)
    backends.check_installed(options)
    grid = load_grid(config, make_model if callable(make_model) else None, data if isinstance(data, Dataset) else None)
    grid.check_recoveries()
    folder = Path(out) if out else default_folder(config)
    if not restore_outputs(folder, grid):
        grid.check_cuttable()
    outputs = list(grid.task.outputs)
    with Store(folder, create=True) as store, store.alone():
        # Without output layers to keep, the network may not have been traced, so that there may be more than are known.
        if config.skip != ():
            store.set_meta(outputs_name(grid), outputs)
        told = progress or Progress()
        with Sweep(grid, store, told, options) as sweep:
            store.set_meta("run", {"config": config.settings(), "command": command or config.command(folder),
                                   **sweep.keys()})

            def grown() -> None:
                if report is not None:
                    told.reported(report(load_run(folder)))

            try:
                run_stages(sweep, grown)
            except BaseException:
                with suppress(RunError):  # a run without a measured point has nothing to show
                    grown()
                raise
            sweep.check_complete()
    return load_run(folder)


def restore_outputs(folder: Path, grid: Grid) -> bool:
    """Take over the output layers that an earlier study of the same network stored; return whether there are any.

    A study that goes on then need not trace its network, and it finds its rows even where a newer version would
    recognise other output layers.
    """
    if not (folder / FILE).exists():
        return False
    with Store(folder) as store:
        outputs = store.meta(outputs_name(grid))
    if outputs is not None:
        grid.task.kept_outputs = tuple(outputs)
    return outputs is not None
