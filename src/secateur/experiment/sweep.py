"""The stages of a study over one store; each does only what is missing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from secateur import files
from secateur.core.errors import RunError, SecateurError
from secateur.core.machine import machine
from secateur.core.paths import write_whole
from secateur.core.progress import Progress
from secateur.core.version import __version__
from secateur.experiment import backends
from secateur.experiment.config import RunOptions
from secateur.experiment.grid import Grid, sample_images
from secateur.experiment.point import Point
from secateur.experiment.store import Store, key_of
from secateur.experiment.trial import Bundle, open_bundle
from secateur.experiment.weight_statistics import weight_statistics


def outputs_name(grid: Grid) -> str:
    """Where a run keeps them: by the network's identity and the version that traced it."""
    return f"outputs {__version__} {key_of(grid.identity)}"


class Sweep:
    """The stages of a study over one store; each does only what is missing."""

    def __init__(self, grid: Grid, store: Store, progress: Progress):
        self.grid, self.store, self.progress = grid, store, progress
        self.points = list(grid.points())
        self.machine = machine()
        self.lost: list[str] = []

    def keys(self) -> dict[str, Any]:
        """The keys of the rows that make up this run."""
        grid, seeds = self.grid, range(self.grid.config.seeds)
        return {"trained": [key_of(grid.trained_settings(s)) for s in seeds],
                "points": [key_of(grid.point_settings(p)) for p in self.points],
                "latency": [key_of(grid.timing_settings(p)) for p in self.points],
                "scans": [key_of(grid.scan_settings(p)) for p in grid.scans()],
                "anatomy": [key_of(self.grid.anatomy_settings(s)) for s in seeds],
                "samples": key_of(self.grid.sample_settings())}

    def network(self, seed: int) -> Path:
        """Where a trained network's weights lie."""
        return self.store.folder / "networks" / f"{key_of(self.grid.trained_settings(seed))}.safetensors"

    def train(self) -> None:
        """Train every network that the run does not hold."""
        config = self.grid.config
        missing = [s for s in range(config.seeds) if not self._has_network(s)]
        self.progress.stage("train", self.grid.task.steps * len(missing))
        for seed in range(config.seeds):
            record = self._train(seed) if seed in missing else self.store.get(key_of(self.grid.trained_settings(seed)))
            self.progress.trained({"seed": seed, **(record or {})})

    def _has_network(self, seed: int) -> bool:
        return self.store.get(key_of(self.grid.trained_settings(seed))) is not None and self.network(seed).exists()

    def _train(self, seed: int) -> dict[str, Any]:
        model, history, result = self.grid.task.train(seed, self.progress)
        _save_tensors({k: v.detach().cpu() for k, v in model.state_dict().items()}, self.network(seed))
        record = {"history": history, "loss": result.loss, "accuracy": result.accuracy,
                  "parameters": sum(p.numel() for p in model.parameters())}
        self.store.put("trained", self.grid.trained_settings(seed), record, self.machine)
        return record

    def scan(self) -> None:
        """Cut each layer by itself, where that is asked for and the run does not hold it."""
        have = self.store.keys("sensitivity")
        missing = [p for p in self.grid.scans() if key_of(self.grid.scan_settings(p)) not in have]
        if not missing:
            return
        self.progress.stage("scan", len(missing))
        with self.bundles() as bundles:
            for point in missing:
                figures = open_bundle(bundles[point.seed]).scan(point)
                self.store.put("sensitivity", self.grid.scan_settings(point), figures, self.machine)
                self.progress.step()

    def _scans(self, seed: int) -> tuple[tuple[str, str, Any], ...]:
        """The scans of one network that the run holds."""
        found = ((p.granularity, p.criterion, self.store.get(key_of(self.grid.scan_settings(p))))
                 for p in self.grid.scans() if p.seed == seed)
        return tuple((g, c, scan) for g, c, scan in found if scan)

    def measure(self, options: RunOptions) -> None:
        """Measure every point that the run does not hold, at once where asked."""
        missing = [*self._missing("point", self.grid.point_settings), *self._points_left_out()]
        self.progress.stage("measure", len(missing))
        if not missing:
            return
        with self.bundles() as bundles:
            for index, figures in backends.run([(bundles[p.seed], p) for p in missing], options):
                if "refused" in figures and not self.grid.is_beside(missing[index]):
                    raise SecateurError(figures["refused"])
                if "lost" in figures:
                    self.lost.append(f"{missing[index]} ({figures['lost']})")
                    continue
                self._keep("point", self.grid.point_settings(missing[index]), figures, missing[index])

    def time(self) -> None:
        """Time every point that has no timing, one after the other, while nothing else runs."""
        missing = self._missing("latency", self.grid.timing_settings) if self.grid.config.latency_batches else []
        missing = [p for p in missing if self._is_measured(p)]
        self.progress.stage("time", len(missing))
        if not missing:
            return
        with self.bundles() as bundles:
            whole: dict[tuple[int, str], dict[str, Any]] = {}
            for point in missing:
                trial, same = open_bundle(bundles[point.seed]), (point.seed, point.granularity)
                nothing = point.sparsity == 0
                figures = whole.get(same) if nothing else None
                figures = figures or trial.time(*trial.cut(point), self.grid.config.timing)
                if nothing:
                    whole[same] = figures
                self._keep("latency", self.grid.timing_settings(point), figures, point)

    def check_complete(self) -> None:
        """Name the points that were left out because workers died while they ran.

        Raises:
            RunError: there are such points; the rows of all others are kept.
        """
        if self.lost:
            raise RunError(f"left out of the study: {'; '.join(self.lost)}. The rows of all other points are kept: "
                           f"secateur report {self.store.folder} shows them, and the same command tries these again")

    def _is_measured(self, point: Point) -> bool:
        """Whether a point was cut: one that was refused, or that cost workers, is not timed."""
        return "refused" not in (self.store.get(key_of(self.grid.point_settings(point))) or {"refused": ""})

    def _missing(self, kind: str, settings: Callable[[Point], dict[str, Any]]) -> list[Point]:
        """The points that have no row of a kind."""
        have = self.store.keys(kind)
        return [p for p in self.points if key_of(settings(p)) not in have]

    def _points_left_out(self) -> list[Point]:
        """The points that an earlier study, which did not ask for them, could leave out."""
        asked = [p for p in self.points if p.recovery == "best" and not self.grid.is_beside(p)]
        return [p for p in asked if "refused" in (self.store.get(key_of(self.grid.point_settings(p))) or {})]

    def _keep(self, kind: str, settings: dict[str, Any], figures: dict[str, Any], point: Point) -> None:
        self.store.put(kind, settings, figures, self.machine)
        self.progress.point(point.settings(), figures)
        self.progress.step()

    @contextmanager
    def bundles(self) -> Iterator[list[Bundle]]:
        """What workers open: one bundle a seed, the test data in a file that goes when the block ends."""
        grid, data = self.grid, self.grid.task.data
        with tempfile.TemporaryDirectory(prefix="secateur-") as scratch:
            tests = Path(scratch) / "tests.safetensors"
            _save_tensors({"x": data.test_x.contiguous(), "y": data.test_y.contiguous()}, tests)
            training = self._training(Path(scratch)) if grid.most_samples else None
            scans = [self._scans(seed) for seed in range(grid.config.seeds)]
            yield [Bundle(f"{key_of(grid.trained_settings(seed))}-{grid.config.samples}-{grid.most_samples}-"
                          f"{len(scans[seed])}", grid.config, grid.task.make_model, grid.task.structure,
                          grid.task.outputs, self.network(seed), tests, training, scans[seed])
                   for seed in range(grid.config.seeds)]

    def _training(self, scratch: Path) -> Path:
        """The training samples that criteria and recoveries look at, in a file."""
        x, y = self.grid.task.training_samples(self.grid.most_samples)
        path = scratch / "training.safetensors"
        _save_tensors({"x": x, "y": y}, path)
        return path

    def describe(self) -> None:
        """Keep what the report explains with: the anatomy of every network, and the sample images."""
        grid, config = self.grid, self.grid.config
        for seed in range(config.seeds):
            if self.store.get(key_of(grid.anatomy_settings(seed))) is None:
                weights = safetensors.torch.load_file(self.network(seed))
                prunable = {t.name: weights[t.name] for t in grid.task.structure.targets
                            if t.module not in grid.whole_modules}
                self.store.put("anatomy", grid.anatomy_settings(seed), weight_statistics(prunable, config.sparsity),
                               self.machine)
        if self.store.get(key_of(grid.sample_settings())) is None:
            self.store.put("samples", grid.sample_settings(), sample_images(grid.task.data, config.samples),
                           self.machine)


def _save_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write a safetensors file, whole or not at all, in a folder that is made where it is not there.

    Raises:
        RunError: the folder is full or read-only.
    """
    with write_whole(path, in_run=True) as scratch:
        files.write_tensors(tensors, scratch)
