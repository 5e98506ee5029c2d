"""A study over one store: its rows' keys, its files, and what workers open."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from secateur import files
from secateur.core.errors import RunError
from secateur.core.machine import machine
from secateur.core.paths import write_whole
from secateur.core.progress import Progress
from secateur.core.version import __version__
from secateur.experiment.config import RunOptions
from secateur.experiment.grid import Grid
from secateur.experiment.point import Point
from secateur.experiment.store import NETWORKS, RECOVERED, Store, key_of
from secateur.experiment.trial import Bundle


def outputs_name(grid: Grid) -> str:
    """The name under which a run keeps the output layers: by network, and by the version that traced it."""
    return f"outputs {__version__} {key_of(grid.identity)}"


class Sweep:
    """A study over one store. As a context it takes its scratch files away at the end.

    Args:
        grid: what is studied.
        store: holds the rows.
        progress: hears of every step.
        options: how the points are spread.
    """

    def __init__(self, grid: Grid, store: Store, progress: Progress, options: RunOptions | None = None):
        self.grid, self.store, self.progress, self.options = grid, store, progress, options or RunOptions()
        self.points = list(grid.points())
        self.machine = machine()
        self.lost: list[str] = []
        self._scratch = ExitStack()

    def __enter__(self) -> Sweep:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._scratch.close()

    def keys(self) -> dict[str, Any]:
        """The keys of the rows that make up this run."""
        grid, seeds = self.grid, range(self.grid.config.seeds)
        return {"trained": [key_of(grid.trained_settings(s)) for s in seeds],
                "points": [key_of(grid.point_settings(p)) for p in self.points],
                "latency": [key_of(grid.timing_settings(p)) for p in self.points],
                "timed": [key_of(grid.timing_settings(p)) for p in self.points if grid.is_timed(p)],
                "scans": [key_of(grid.scan_settings(p)) for p in grid.scans()],
                "anatomy": [key_of(grid.anatomy_settings(s)) for s in seeds],
                "samples": key_of(grid.sample_settings()), "labels": key_of(grid.label_settings())}

    def points_of(self, seed: int) -> list[Point]:
        """The points of one trained network."""
        return [point for point in self.points if point.seed == seed]

    def network(self, seed: int) -> Path:
        """The file of a trained network's weights."""
        return self.store.folder / NETWORKS / f"{key_of(self.grid.trained_settings(seed))}.safetensors"

    def has_network(self, seed: int) -> bool:
        """Whether the run holds a trained network."""
        return self.store.get(self.grid.trained_settings(seed)) is not None and self.network(seed).exists()

    def put(self, settings: dict[str, Any], figures: dict[str, Any]) -> None:
        """Write one row."""
        self.store.put(settings["kind"], settings, figures, self.machine)

    def scans(self, seed: int) -> tuple[tuple[str, str, Any], ...]:
        """The scans of one network that the run holds."""
        return tuple((p.granularity, p.criterion, scan) for p in self.grid.scans() if p.seed == seed
                     and (scan := self.store.get(self.grid.scan_settings(p))))

    def bundle(self, seed: int) -> Bundle:
        """What workers open of one trained network."""
        grid, scans, trained = self.grid, self.scans(seed), key_of(self.grid.trained_settings(seed))
        tests, training = self._samples
        return Bundle(f"{trained}-{grid.config.samples}-{grid.most_samples}-{len(scans)}", grid.config,
                      grid.task.make_model, grid.task.structure, grid.task.outputs, self.network(seed), tests, training,
                      scans, self.store.folder / RECOVERED, trained)

    @cached_property
    def _samples(self) -> tuple[Path, Path | None]:
        """The test data, and the training samples that criteria and recoveries look at, in scratch files."""
        task = self.grid.task
        folder = Path(self._scratch.enter_context(tempfile.TemporaryDirectory(prefix="secateur-")))
        tests, training = folder / "tests.safetensors", folder / "training.safetensors"
        save_tensors({"x": task.data.test_x.contiguous(), "y": task.data.test_y.contiguous()}, tests)
        if not self.grid.most_samples:
            return tests, None
        x, y = task.training_samples(self.grid.most_samples)
        save_tensors({"x": x, "y": y}, training)
        return tests, training

    def missing(self, kind: str, settings: Sequence[dict[str, Any]]) -> list[int]:
        """Which rows of a kind, by their settings, the run does not hold."""
        have = self.store.keys(kind)
        return [index for index, one in enumerate(settings) if key_of(one) not in have]

    def check_complete(self) -> None:
        """Name the points that were left out because workers died while they ran.

        Raises:
            RunError: there are such points; the rows of all others are kept.
        """
        if self.lost:
            raise RunError(f"left out of the study: {'; '.join(self.lost)}. The rows of all other points are kept: "
                           f"secateur report {self.store.folder} shows them; run the same command to try these again")


def save_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write a safetensors file, whole or not at all, in a folder that is made where it is not there.

    Raises:
        RunError: the folder is full or read-only.
    """
    with write_whole(path, in_run=True) as scratch:
        files.write_tensors(tensors, scratch)
