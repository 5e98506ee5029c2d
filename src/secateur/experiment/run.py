"""A finished run as plain data: what the store gives and the report reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from secateur.core.errors import RunError
from secateur.experiment.row import Row, read_row
from secateur.experiment.store import Store


@dataclass(frozen=True)
class RunData:
    """One run of a study.

    Attributes:
        folder: where the run lives.
        config: every setting of the study by name, defaults too.
        machine: cpu, cores, threads, os and the versions of python, torch, numpy and secateur.
        command: the command that reproduces the run.
        trained: one record a seed: ``seed``, ``history`` (records of epoch, loss, accuracy, seconds),
            ``loss`` and ``accuracy`` on the test samples, ``parameters``.
        points: one row a (seed, granularity, criterion, scope, recovery, sparsity), see
            :class:`secateur.experiment.row.Row`.
        weight_statistics: one value of :func:`secateur.experiment.weight_statistics.weight_statistics` a seed.
        samples: ``images`` (uint8, ``[n, h, w]`` or ``[n, h, w, 3]``) and ``labels``, or None where the
            data are not images.
        scans: one record a (seed, granularity, criterion) of which each layer was cut by itself: those three, and
            what :meth:`secateur.pruning.scan.Scan.plain` gives.
        refused: granularity → why the best cut that needs no labels could not be made.
    """

    folder: Path
    config: dict[str, Any]
    machine: dict[str, Any]
    command: str
    trained: list[dict[str, Any]]
    points: list[Row]
    weight_statistics: list[dict[str, Any]] = field(default_factory=list)
    samples: dict[str, Any] | None = None
    scans: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def load_run(folder: str | Path) -> RunData:
    """The rows of a run's last settings, as the report reads them.

    Raises:
        RunError: the folder holds no run, one of another version, or one without a measured point.
    """
    with Store(Path(folder)) as store:
        run = store.meta("run")
        if run is None:
            raise RunError(f"'{folder}' holds a run that has not begun; run secateur study again")
        timings = dict(zip(run["points"], run["latency"], strict=True))
        rows = list(_rows(store, run["points"]))
        points = [read_row(settings, figures, store.get(timings[key])) for key, settings, figures in rows
                  if "refused" not in figures]
        if not points:
            raise RunError(f"'{folder}' holds no measured point yet; run again to go on: {run['command']}")
        refused = {settings["granularity"]: figures["refused"] for _, settings, figures in rows
                   if "refused" in figures}
        # A run of an earlier version has no scans.
        scans = [{**{k: settings[k] for k in ("seed", "granularity", "criterion")}, **figures}
                 for _, settings, figures in _rows(store, run.get("scans", []))]
        trained = [{"seed": seed, **row} for seed, key in enumerate(run["trained"]) if (row := store.get(key))]
        return RunData(Path(folder), run["config"], store.machine(run["points"]), run["command"], trained, points,
                       [row for key in run["anatomy"] if (row := store.get(key))], _samples(store.get(run["samples"])),
                       scans, refused)


def _rows(store: Store, keys: Iterable[str]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Key, settings and figures of the rows that are there."""
    return ((key, store.settings(key), figures) for key in keys if (figures := store.get(key)) is not None)


def _samples(row: dict[str, Any] | None) -> dict[str, Any] | None:
    if row is None or row["shape"] is None:
        return None
    images = np.frombuffer(row["pixels"], np.uint8).reshape(row["shape"])
    return {"images": images[..., 0] if images.shape[-1] == 1 else images, "labels": row["labels"]}
