"""The stages of a study over one store; each does only what is missing."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter
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
from secateur.experiment.grid import Grid, sample_images, test_labels
from secateur.experiment.point import Point
from secateur.experiment.store import NETWORKS, Store, key_of
from secateur.experiment.stored import check_timing
from secateur.experiment.trial import Bundle, open_bundle
from secateur.experiment.weight_statistics import weight_statistics
from secateur.measure.noise import AGAIN, noisy_batches, steadier


def outputs_name(grid: Grid) -> str:
    """The name under which a run keeps the output layers: by network, and by the version that traced it."""
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
                "anatomy": [key_of(grid.anatomy_settings(s)) for s in seeds],
                "samples": key_of(grid.sample_settings()), "labels": key_of(grid.label_settings())}

    def network(self, seed: int) -> Path:
        """The file of a trained network's weights."""
        return self.store.folder / NETWORKS / f"{key_of(self.grid.trained_settings(seed))}.safetensors"

    def train(self) -> None:
        """Train every network that the run does not hold."""
        config = self.grid.config
        missing = [s for s in range(config.seeds) if not self._has_network(s)]
        self.progress.stage("train", self.grid.task.steps * len(missing))
        for seed in range(config.seeds):
            record = self._train(seed) if seed in missing else self.store.get(self.grid.trained_settings(seed))
            self.progress.trained({"seed": seed, **(record or {})})

    def _has_network(self, seed: int) -> bool:
        return self.store.get(self.grid.trained_settings(seed)) is not None and self.network(seed).exists()

    def _train(self, seed: int) -> dict[str, Any]:
        model, history, result = self.grid.task.train(seed, self.progress)
        _save_tensors({k: v.detach().cpu() for k, v in model.state_dict().items()}, self.network(seed))
        record = {"history": history, "loss": result.loss, "accuracy": result.accuracy,
                  "parameters": sum(p.numel() for p in model.parameters())}
        self._put(self.grid.trained_settings(seed), record)
        return record

    def _put(self, settings: dict[str, Any], figures: dict[str, Any]) -> None:
        self.store.put(settings["kind"], settings, figures, self.machine)

    def scan(self) -> None:
        """Cut each layer by itself, where that is asked for and the run does not hold it."""
        missing = self._missing("sensitivity", self.grid.scans(), self.grid.scan_settings)
        if not missing:
            return
        self.progress.stage("scan", len(missing))
        with self.bundles() as bundles:
            for point in missing:
                self._put(self.grid.scan_settings(point), open_bundle(bundles[point.seed]).scan(point))
                self.progress.step()

    def _scans(self, seed: int) -> tuple[tuple[str, str, Any], ...]:
        """The scans of one network that the run holds."""
        return tuple((p.granularity, p.criterion, scan) for p in self.grid.scans() if p.seed == seed
                     and (scan := self.store.get(self.grid.scan_settings(p))))

    def measure(self, options: RunOptions) -> None:
        """Measure every point that the run does not hold, at once where asked."""
        missing = [*self._missing("point", self.points, self.grid.point_settings), *self._points_left_out()]
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
                self._put_point(self.grid.point_settings(missing[index]), figures, missing[index])

    def time(self) -> None:
        """Time every point that has no timing or a noisy one, one after the other, while nothing else runs; those that
        are noisy are timed once more, for at most a part of the seconds that all took."""
        start = perf_counter()
        self._time("time", self._noisy_points())
        self._time("time again", self._noisy_points(), perf_counter() + AGAIN * (perf_counter() - start))

    def _time(self, stage: str, noisy: dict[Point, tuple[int, ...]], end: float = math.inf) -> None:
        """Time points at some batch sizes each, until a moment of the clock."""
        self.progress.stage(stage, len(noisy))
        if not noisy:
            return
        with self.bundles() as bundles:
            # Where nothing is cut, all criteria, scopes and recoveries of a seed and granularity share one timing.
            uncut: dict[tuple[int, str, tuple[int, ...]], dict[str, Any]] = {}
            for point, batches in noisy.items():
                if perf_counter() >= end:
                    break
                trial, place = open_bundle(bundles[point.seed]), (point.seed, point.granularity, batches)
                figures = uncut.get(place) if point.sparsity == 0 else None
                figures = figures or trial.time(*trial.cut(point), replace(self.grid.config.timing, batches=batches))
                if point.sparsity == 0:
                    uncut[place] = figures
                earlier = self._timing(point)
                self._put_point(self.grid.timing_settings(point), steadier(figures, earlier) if earlier else figures,
                                point)

    def _noisy_points(self) -> dict[Point, tuple[int, ...]]:
        """The measured points that have no timing or a noisy one, and the batch sizes that are to be timed."""
        batches = self.grid.config.latency_batches
        found = {p: noisy_batches(timing) if (timing := self._timing(p)) else batches
                 for p in self.points if batches and self._is_measured(p)}
        return {point: noisy for point, noisy in found.items() if noisy}

    def _timing(self, point: Point) -> dict[str, Any] | None:
        """The timing of a point that the run holds; None where there is none, or a damaged one."""
        timing = self.store.get(self.grid.timing_settings(point))
        try:
            if timing is not None:
                check_timing(timing)
        except RunError:
            return None
        return timing

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
        figures = self.store.get(self.grid.point_settings(point))
        return figures is not None and "refused" not in figures

    def _is_refused(self, point: Point) -> bool:
        """Whether the run says why a point cannot be measured."""
        return "refused" in (self.store.get(self.grid.point_settings(point)) or {})

    def _missing(self, kind: str, points: Iterable[Point],
                 settings: Callable[[Point], dict[str, Any]]) -> list[Point]:
        """The points that have no row of a kind."""
        have = self.store.keys(kind)
        return [p for p in points if key_of(settings(p)) not in have]

    def _points_left_out(self) -> list[Point]:
        """The points that an earlier study, which did not ask for them, could leave out."""
        return [p for p in self.points if p.recovery == "best" and not self.grid.is_beside(p) and self._is_refused(p)]

    def _put_point(self, settings: dict[str, Any], figures: dict[str, Any], point: Point) -> None:
        self._put(settings, figures)
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
        """Keep what the report explains with: the anatomy of every network, sample images, the tests' classes."""
        grid, config = self.grid, self.grid.config
        for seed in range(config.seeds):
            if self.store.get(grid.anatomy_settings(seed)) is None:
                weights = safetensors.torch.load_file(self.network(seed))
                prunable = {t.name: weights[t.name] for t in grid.task.structure.targets
                            if t.module not in grid.whole_modules}
                self._put(grid.anatomy_settings(seed), weight_statistics(prunable, config.sparsity))
        if self.store.get(grid.sample_settings()) is None:
            self._put(grid.sample_settings(), sample_images(grid.task.data, config.samples))
        if self.store.get(grid.label_settings()) is None:
            self._put(grid.label_settings(), test_labels(grid.task.data))


def _save_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write a safetensors file, whole or not at all, in a folder that is made where it is not there.

    Raises:
        RunError: the folder is full or read-only.
    """
    with write_whole(path, in_run=True) as scratch:
        files.write_tensors(tensors, scratch)
