"""A study as a list of stages, each of one trained network: what is missing is made, in the order of the list.

A stage reads from the store what the stages before it wrote, so that the order is all that ties them together, and a
study that was stopped goes on at the first row that is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import safetensors.torch

from secateur.core.errors import SecateurError
from secateur.core.progress import Progress
from secateur.experiment import backends
from secateur.experiment.grid import sample_images, test_labels
from secateur.experiment.pace import Pace
from secateur.experiment.point import Point
from secateur.experiment.stage import PointStage, Stage
from secateur.experiment.sweep import Sweep, save_tensors
from secateur.experiment.time_stage import Time
from secateur.experiment.trial import open_bundle
from secateur.experiment.weight_statistics import weight_statistics


class Train(Stage):
    """The network itself."""

    name, rows = "train", "network"

    def missing(self) -> list[int]:
        """The seed, where the network is not there."""
        return [] if self.sweep.has_network(self.seed) else [self.seed]

    def found(self) -> int:
        """One or none."""
        return int(self.sweep.has_network(self.seed))

    def work(self, missing: Sequence[int]) -> Counter[str]:
        """A step for each of the optimizer's."""
        return Counter(train=self.steps(missing))

    def steps(self, missing: Sequence[int]) -> int:
        """Those of the optimizer."""
        return self.grid.task.steps * len(missing)

    def run(self, missing: Sequence[int], pace: Pace) -> None:
        """Train it and keep its weights."""
        model, history, result = self.grid.task.train(self.seed, _Steps(self.sweep.progress, pace))
        save_tensors({k: v.detach().cpu() for k, v in model.state_dict().items()}, self.sweep.network(self.seed))
        self.sweep.put(self.grid.trained_settings(self.seed),
                       {"history": history, "loss": result.loss, "accuracy": result.accuracy,
                        "parameters": sum(p.numel() for p in model.parameters())})

    def tell(self) -> None:
        """Tell of the network, whether it was trained now or before."""
        record = self.sweep.store.get(self.grid.trained_settings(self.seed)) or {}
        self.sweep.progress.trained({"seed": self.seed, **record})


class _Steps(Progress):
    """Hears of the steps and epochs of a training."""

    def __init__(self, progress: Progress, pace: Pace):
        self.progress, self.pace = progress, pace

    def step(self) -> None:
        """A step of the optimizer."""
        self.pace.step("train")
        self.progress.step()

    def epoch(self, record: dict[str, Any]) -> None:
        """A pass over the data."""
        self.progress.epoch(record)


class Describe(Stage):
    """What the report explains with: the statistics of the weights, sample images, the classes of the test samples."""

    def missing(self) -> list[dict[str, Any]]:
        """The settings of the rows that are not there."""
        grid = self.grid
        wanted = [grid.anatomy_settings(self.seed), grid.sample_settings(), grid.label_settings()]
        return [settings for settings in wanted if self.sweep.store.get(settings) is None]

    def run(self, missing: Sequence[dict[str, Any]], pace: Pace) -> None:
        """Gather them from the network's weights and the test data."""
        data, config = self.grid.task.data, self.grid.config
        made = {"anatomy": self._statistics, "samples": lambda: sample_images(data, config.samples),
                "labels": lambda: test_labels(data)}
        for settings in missing:
            self.sweep.put(settings, made[settings["kind"]]())

    def _statistics(self) -> dict[str, Any]:
        weights = safetensors.torch.load_file(self.sweep.network(self.seed))
        prunable = {t.name: weights[t.name] for t in self.grid.task.structure.targets
                    if t.module not in self.grid.whole_modules}
        return weight_statistics(prunable, self.grid.config.sparsity)


class Scan(PointStage):
    """Each layer cut by itself, where that is asked for."""

    name, rows, kind = "scan", "scan", "sensitivity"

    def points(self) -> list[Point]:
        """Every method that is no control."""
        return [point for point in self.grid.scans() if point.seed == self.seed]

    def settings(self, point: Point) -> dict[str, Any]:
        """What names a scan."""
        return self.grid.scan_settings(point)

    def work(self, missing: Sequence[Point]) -> Counter[str]:
        """A step each."""
        return Counter(scan=len(missing))

    def run(self, missing: Sequence[Point], pace: Pace) -> None:
        """Scan one method after the other."""
        trial = open_bundle(self.sweep.bundle(self.seed))
        for point in missing:
            self.sweep.put(self.settings(point), trial.scan(point))
            pace.step("scan")
            self.sweep.progress.step()


class Measure(PointStage):
    """Every point but its timing, at once where asked."""

    name, rows, kind, is_shown = "measure", "point", "point", True

    def settings(self, point: Point) -> dict[str, Any]:
        """What names a point's row."""
        return self.grid.point_settings(point)

    def missing(self) -> list[Point]:
        """The points without a row, and those that an earlier study, which did not ask for them, could leave out."""
        left_out = [p for p in self.points() if not self.grid.is_beside(p) and (p.recovery == "best" or p.bits != 32)
                    and "refused" in (self.sweep.store.get(self.settings(p)) or {})]
        return [*super().missing(), *left_out]

    def work(self, missing: Sequence[Point]) -> Counter[str]:
        """Plain cuts, and those that are recovered."""
        return Counter(map(_kind_of, missing))

    def run(self, missing: Sequence[Point], pace: Pace) -> None:
        """Measure the points; gives an error for one that was asked for and cannot be cut."""
        bundle = self.sweep.bundle(self.seed)
        for index, figures in backends.run([(bundle, p) for p in missing], self.sweep.options):
            point = missing[index]
            if "refused" in figures and not self.grid.is_beside(point):
                raise SecateurError(figures["refused"])
            if "lost" in figures:
                self.sweep.lost.append(f"{point} ({figures['lost']})")
                continue
            pace.step(_kind_of(point))
            self.put_point(point, figures)


def _kind_of(point: Point) -> str:
    return "measure" if point.recovery == "none" and point.bits != 8 else "recover"


STAGES: tuple[type[Stage], ...] = (Train, Describe, Scan, Measure, Time)
"""What is done with each trained network, in order."""


def run_stages(sweep: Sweep, grown: Callable[[], None]) -> None:
    """Make every row of a study that is missing, network by network; ``grown`` is called when there is more to show."""
    stages = [stage(sweep, seed) for seed in range(sweep.grid.config.seeds) for stage in STAGES]
    ahead = [stage.ahead() for stage in stages]
    pace = Pace(sweep.store, sweep.progress, [s.work(rows) for s, rows in zip(stages, ahead, strict=True)])
    sweep.progress.outlook(_count(stages, [stage.found() for stage in stages]), _count(stages, list(map(len, ahead))),
                           pace.left())
    for number, stage in enumerate(stages):
        missing = stage.missing()
        pace.begin(number, stage.work(missing))
        if stage.name and (missing or stage.name != Scan.name):
            sweep.progress.stage(stage.name, stage.steps(missing))
        if missing:
            stage.run(missing, pace)
        stage.tell()
        pace.end()
        if missing and stage.is_shown:
            grown()


def _count(stages: Sequence[Stage], counts: Sequence[int]) -> dict[str, int]:
    """How many rows of each kind there are; kinds without any are left out."""
    total = Counter[str]()
    for stage, count in zip(stages, counts, strict=True):
        if stage.rows:
            total[stage.rows] += count
    return {rows: count for rows, count in total.items() if count}
