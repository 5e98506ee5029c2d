"""One network of a study, made again from its trained weights and compared with its row."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from secateur.core.errors import RunError, SecateurError
from secateur.core.progress import Progress
from secateur.core.text import bits_name
from secateur.experiment.checks import read_layers
from secateur.experiment.config import StudyConfig
from secateur.experiment.grid import Grid, load_grid
from secateur.experiment.point import Point
from secateur.experiment.row import SETTINGS, Row
from secateur.experiment.run import RunData, load_run
from secateur.experiment.store import Store
from secateur.experiment.study import restore_outputs
from secateur.experiment.sweep import Sweep
from secateur.experiment.trial import open_bundle
from secateur.measure.accuracy import evaluate

_SHOWN = 128
_ONE_OTHERWISE = 1000
"""Of so many test samples, one may come out otherwise than the row says: another machine adds in another order."""


@dataclass(frozen=True, eq=False)
class RemadeNetwork:
    """A network of a run.

    Attributes:
        network: the network, in evaluation mode.
        example: two inputs of the run's test part.
        samples: 128 inputs of its training part, or as many as there are.
        test: inputs and labels of it.
        accuracy: what the network reached on it, now.
        row: what the run's row says.
        name: a name for its file, without a suffix.
        description: which network of the run it is, in words.
        notes: how it differs from what was measured.
    """

    network: nn.Module
    example: Tensor
    samples: Tensor
    test: tuple[Tensor, Tensor]
    accuracy: float
    row: Row
    name: str
    description: str
    notes: tuple[str, ...]


def remake(folder: Path, choice: Mapping[str, Any], model: str = "", trusted: bool = False) -> RemadeNetwork:
    """Make a network of a run again: its trained weights, cut and recovered as the run did, with the run's data.

    Args:
        folder: the run's.
        choice: which: any of :data:`secateur.experiment.row.SETTINGS`, as few as single out one row; the seed is 0
            and the bits 32 where they are not given.
        model: the run's own, named again by the user.
        trusted: whether all that the run names may be imported.

    Raises:
        RunError: the folder holds no such network, or what it was made of is no longer there, or is another; or it
            names what the user did not name.
    """
    run = load_run(folder)
    if model not in ("", run.config["model"]):
        raise RunError(f"'{folder}' is a run, so --factory must be the run's own, '{run.config['model']}'; got "
                       f"'{model}'")
    row = _choose_row(run, choice)
    _check_own(run)
    _check_named(run, {model, *choice.values()}, trusted)
    grid = _load_again(folder, run)
    with Store(folder) as store, Sweep(grid, store, Progress()) as sweep:
        point = grid.point(row.granularity, row.criterion, row.scope, row.sparsity, row.seed, row.recovery,
                           row.bits)
        _check_same(grid, sweep, store, point, folder)
        network = copy.deepcopy(open_bundle(sweep.bundle(point.seed)).cut(point)[1])
    x, y = grid.task.data.test_x, grid.task.data.test_y
    now = evaluate(network, x, y)
    then = np.unpackbits(np.frombuffer(row["correct"], np.uint8), count=len(y)).astype(bool)
    wrong = int((now.correct != then).sum())
    differs = f"the rebuilt network predicts {wrong} of {len(y)} test samples differently than its row says"
    if wrong * _ONE_OTHERWISE > len(y):
        raise RunError(f"'{folder}': {differs} (accuracy {now.accuracy:.4f}, row {row['accuracy']:.4f}): the run was "
                       "made with other versions or on another machine; run secateur study again into a new folder")
    parts = [run.folder.name, row["granularity"], f"{row['sparsity']:g}"] if row["sparsity"] else [run.folder.name]
    parts += [bits_name(row["bits"])] if row["bits"] != 32 else []
    return RemadeNetwork(network.eval(), x[:2], grid.task.data.train_x[:_SHOWN], (x, y), now.accuracy, row,
                         "-".join(parts), _describe(row), (differs,) if wrong else ())


def _choose_row(run: RunData, choice: Mapping[str, Any]) -> Row:
    """The one row that was asked for.

    Raises:
        RunError: none is like that, or several are; the message says what there is.
    """
    wanted = {"seed": 0, "bits": 32} | {k: v for k, v in choice.items() if v is not None}
    if "sparsity" not in wanted:
        raise RunError(f"choose a network of '{run.folder}' with --sparsity " + _options(run.points, "sparsity"))
    rows = run.points
    for name, value in wanted.items():
        hits = [row for row in rows if row[name] == value]
        if not hits:
            raise RunError(f"'{run.folder}' holds no network with {name} {value}: allowed here: "
                           + _options(rows, name))
        rows = hits
    if wanted["sparsity"] == 0:
        return rows[0]
    rows = [row for row in rows if not row["control"]] or rows
    if several := [name for name in SETTINGS if len({row[name] for row in rows}) > 1]:
        raise RunError(f"{len(rows)} networks of '{run.folder}' match; choose one with "
                       + ", ".join(f"--{name} {_options(rows, name)}" for name in several))
    return rows[0]


def _check_named(run: RunData, repeated: set[Any], trusted: bool) -> None:
    """Refuse to import what a run names and its user does not: a run is a file, whoever wrote it."""
    own = [name for name in _import_paths(run.config) if name not in repeated]
    if own and not trusted:
        how = f"repeat it with --factory {own[0]}, or " if own == [run.config.get("model")] else ""
        raise RunError(f"'{run.folder}' was made with {', '.join(own)}, which would be imported and run: {how}add "
                       "--trust if you know who made the run")


def _import_paths(config: Mapping[str, Any]) -> list[str]:
    """What the settings of a run name of modules: everything with a colon that is no N:M."""
    values = [config.get(key) for key in ("model", "data", "granularity", "criterion", "scope", "recovery")]
    layers = read_layers(str(config.get("layers") or ""))
    values += [said.get("granularity") for said in layers.values() if isinstance(said, dict)]
    named = [str(one) for value in values for one in (value if isinstance(value, list) else [value])]
    return [name for name in dict.fromkeys(named) if ":" in name and not re.fullmatch(r"\d+:\d+", name)]


def _options(points: list[Row], name: str) -> str:
    """What a field of rows holds, in words."""
    values = sorted({p[name] for p in points})
    return " or ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)


def _describe(row: Row) -> str:
    """Which network a row is."""
    bits = "" if row["bits"] == 32 else f", {bits_name(row['bits'])}"
    if not row["sparsity"]:
        return f"the uncut network of seed {row['seed']}{bits}"
    after = (f", recovery {row['recovery']}" if row["recovery"] != "none" else "") + bits
    return (f"{row['sparsity']:g} of the {row['granularity']}s cut by {row['criterion']}, scope {row['scope']}{after}, "
            f"seed {row['seed']}")


def _check_own(run: RunData) -> None:
    """Refuse a run whose data came by hand."""
    if str(run.config["data"]).startswith("given:"):
        raise RunError(f"'{run.folder}' was made in Python from data that no file names: export there "
                       "with sc.export, or give the study data by its import path")


def _load_again(folder: Path, run: RunData) -> Grid:
    """The run's network, data and settings, loaded again.

    Raises:
        RunError: they are no longer there.
    """
    try:
        grid = load_grid(StudyConfig.restore(run.config))
    except SecateurError as error:
        raise RunError(f"'{folder}' cannot rebuild its networks: {error}") from error
    restore_outputs(folder, grid)
    return grid


def _check_same(grid: Grid, sweep: Sweep, store: Store, point: Point, folder: Path) -> None:
    """Refuse a run whose network, data or settings are no longer what they were.

    Raises:
        RunError: the row has another key, or the trained weights are gone.
    """
    if store.get(grid.trained_settings(point.seed)) is None:
        raise RunError(f"'{folder}' was made with another network or other data than '{grid.config.model}' and "
                       f"'{grid.config.data}' are now; run secateur study again")
    if store.get(grid.point_settings(point)) is None:
        raise RunError(f"'{folder}' was measured by another version of secateur; run secateur study again")
    if not sweep.network(point.seed).exists():
        raise RunError(f"'{folder}' no longer holds its trained network {sweep.network(point.seed).name}; run secateur "
                       "study again")
