"""Read a run back from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from secateur import registry
from secateur.errors import RunError
from secateur.recover import recoveries
from secateur.run_data import RunData
from secateur.store import Store


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
