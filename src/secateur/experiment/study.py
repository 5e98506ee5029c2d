"""The sweep: a grid of points over several trained networks, into rows, each computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn

from secateur.core.progress import Progress
from secateur.data.datasets.base import Dataset
from secateur.experiment import backends
from secateur.experiment.config import RunOptions, StudyConfig
from secateur.experiment.run import RunData, load_run
from secateur.experiment.spec import spec_of
from secateur.experiment.store import FILE, Store
from secateur.experiment.sweep import Sweep, outputs_name
from secateur.experiment.task import Problem, default_folder, named, problem
from secateur.pruning.criteria.base import as_criterion
from secateur.pruning.granularity import resolve
from secateur.pruning.selection import Selection


def study(make_model: Callable[[], nn.Module] | str | None = None, data: Dataset | str | None = None,
          config: StudyConfig | None = None, out: str | Path | None = None, jobs: int = 1, backend: str = "loky",
          address: str = "", progress: Progress | None = None, command: str = "") -> RunData:
    """Train, cut at every point of the grid, measure, time; what the run folder holds already stays.

    Args:
        make_model: a function that builds the network, or its name; by default ``config.model``.
        data: a data set, or its name; by default ``config.data``.
        config: every setting; see :class:`StudyConfig`.
        out: the run's folder, by default ``runs/MODEL-DATA``.
        jobs, backend, address: how the points are spread, see :class:`secateur.experiment.config.RunOptions`.
        progress: hears of every step.
        command: what a reader types to run the study again; by default made from the settings.

    Returns:
        The run, read back from its folder.

    Raises:
        SecateurError: anything in the settings, network, data or folder that the caller can mend.
    """
    config = named(config or StudyConfig(), make_model, data)
    options = RunOptions(jobs=jobs, backend=backend, address=address)
    backends.check_installed(options)
    task = problem(config, make_model if callable(make_model) else None, data if isinstance(data, Dataset) else None)
    task.check_crossed()
    folder = Path(out) if out else default_folder(config)
    task = replace(task, outputs=kept_outputs(folder, task))
    if task.outputs is None:
        check_cuttable(task)
    layers = list(task.output_layers)
    with Store(folder, create=True) as store:
        store.set_meta(outputs_name(task), layers)
        sweep = Sweep(task, store, progress or Progress())
        store.set_meta("run", {"config": config.settings(), "command": command or config.command(folder),
                               **sweep.keys()})
        sweep.train()
        sweep.scan()
        sweep.measure(options)
        sweep.time()
        sweep.describe()
    return load_run(folder)


def kept_outputs(folder: Path, task: Problem) -> tuple[str, ...] | None:
    """The layers that make the outputs, as an earlier study of the same network kept them in its run."""
    if not (folder / FILE).exists():
        return None
    with Store(folder) as store:
        kept = store.meta(outputs_name(task))
    return None if kept is None else tuple(kept)


def check_cuttable(task: Problem) -> None:
    """Refuse a network of which a granularity can cut nothing, or which has no batch norms that a criterion reads,
    before it is trained.

    Raises:
        SecateurError: as :class:`secateur.pruning.selection.Selection` words it.
    """
    model = task.make_model().eval()
    for name in task.config.granularity:
        config = task.config
        plain = [c for c in config.criteria_of(name) if "scale" in as_criterion(c)[1].needs]
        for criterion in (resolve(name).default_criterion, *plain):
            spec = spec_of(name, criterion, "layer", layers=config.layer_settings, min_sparsity=config.min_sparsity,
                           max_sparsity=config.max_sparsity, pooling=config.pooling, skip=task.skip)
            Selection(model, spec, example=task.data.test_x[:1], structure=task.structure, outputs=())
