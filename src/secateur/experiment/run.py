"""A finished run as plain data: what the store gives and the report reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from secateur.core import registry
from secateur.core.errors import RunError
from secateur.experiment.store import Store
from secateur.recovery.pipeline import recoveries


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
        points: one record a (seed, granularity, criterion, scope, recovery, sparsity): those six, and
            ``control``, ``reached`` (the sparsity that the cut gave), ``items``, ``removed``, ``loss``,
            ``accuracy``, ``correct`` (bytes: ``numpy.packbits`` of the correctness of each test sample),
            ``tests`` (their number), ``parameters``, ``nonzeros``, ``bytes`` (dense float32),
            ``bytes_sparse`` (smallest of dense, bit mask and CSR a tensor), ``bytes_file`` (of the file that
            :func:`secateur.save` writes; rows of earlier versions lack it), ``flops`` and
            ``flops_nonzero`` (of one example), ``layers`` (records of name, items, removed, sparsity),
            ``notes``, ``samples_seen`` (training samples shown to criterion and recovery, where any were),
            ``predictions`` (classes given to the sample images), ``latency`` (None, or batch
            as text → variant → median, low, high in seconds, and speedup, speedup_low, speedup_high
            over ``original``), ``sparse_error`` (greatest relative difference of sparse and dense outputs).
        anatomy: one value of :func:`secateur.experiment.weight_statistics.weight_statistics` a seed.
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
    points: list[dict[str, Any]]
    anatomy: list[dict[str, Any]] = field(default_factory=list)
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
        trained = [{"seed": seed, **row} for seed, key in enumerate(run["trained"]) if (row := store.get(key))]
        points = list(_points(store, run))
        if not points:
            raise RunError(f"'{folder}' holds no measured point yet; run again to go on: {run['command']}")
        return RunData(Path(folder), run["config"], store.machine(run["points"]), run["command"], trained, points,
                       [row for key in run["anatomy"] if (row := store.get(key))], _samples(store.get(run["samples"])),
                       list(_scans(store, run)), _refused(store, run))


def _points(store: Store, run: dict[str, Any]) -> Any:
    for key, timing in zip(run["points"], run["latency"], strict=True):
        if (figures := store.get(key)) is None or "refused" in figures:
            continue
        settings = store.settings(key)
        recovery = settings.get("recovery", "none")
        control = getattr(registry.get("criteria", settings["criterion"]), "control", False) or any(
            item.control for item in recoveries(recovery))
        yield {**{k: settings[k] for k in ("seed", "granularity", "criterion", "scope", "sparsity")},
               "recovery": recovery,
               "control": control, **figures, "latency": None, "sparse_error": None, **(store.get(timing) or {})}


def _refused(store: Store, run: dict[str, Any]) -> dict[str, str]:
    """Why the best cut of a granularity could not be made, where that is so."""
    found = ((store.settings(key)["granularity"], store.get(key)) for key in run["points"] if store.get(key))
    return {granularity: figures["refused"] for granularity, figures in found if figures and "refused" in figures}


def _scans(store: Store, run: dict[str, Any]) -> Any:
    """The sensitivity scans; a run of an earlier version has none."""
    for key in run.get("scans", []):
        if (figures := store.get(key)) is not None:
            settings = store.settings(key)
            yield {**{k: settings[k] for k in ("seed", "granularity", "criterion")}, **figures}


def _samples(row: dict[str, Any] | None) -> dict[str, Any] | None:
    if row is None or row["shape"] is None:
        return None
    images = np.frombuffer(row["pixels"], np.uint8).reshape(row["shape"])
    return {"images": images[..., 0] if images.shape[-1] == 1 else images, "labels": row["labels"]}
