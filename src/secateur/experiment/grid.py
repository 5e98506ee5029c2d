"""The points of a study: which cuts are measured, and the settings that name their rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from secateur import data as datasets
from secateur import models
from secateur.core import registry
from secateur.core.errors import SecateurError
from secateur.data.datasets.base import Dataset
from secateur.experiment.combinations import defined_scopes
from secateur.experiment.config import StudyConfig
from secateur.experiment.point import Point, recovery_settings
from secateur.experiment.store import FORMAT, key_of
from secateur.experiment.task import LabelledTask, check_network
from secateur.experiment.trial import check_cuttable
from secateur.pruning.criteria.base import as_criterion
from secateur.pruning.frozen_layers import find_frozen_layers
from secateur.pruning.granularity import resolve
from secateur.pruning.layer_rules import resolve_skip
from secateur.recovery.pipeline import ignored_by, kinds_of, recoveries


@dataclass(frozen=True, eq=False)
class Grid:
    """The points of a study.

    Attributes:
        config: the settings.
        task: the network and the data.
        identity: what tells this network and these data from others.
    """

    config: StudyConfig
    task: LabelledTask
    identity: dict[str, Any]

    def points(self) -> Iterator[Point]:
        """Every point of the sweep, those that share a ranking beside each other."""
        for seed in range(self.config.seeds):
            asked = [*self._points(seed)]
            yield from asked
            yield from (point for point in self._uncut_points(seed) if point not in asked)

    def _points(self, seed: int) -> Iterator[Point]:
        """The points of one trained network that are cut, each in every number of bits."""
        config = self.config
        for granularity in config.granularity:
            for criterion in config.criteria_of(granularity):
                for scope in defined_scopes(config.scope, granularity):
                    for recovery in self.recoveries_of(granularity, criterion):
                        for sparsity in config.sparsities_of(granularity):
                            for bits in config.bits:
                                yield self.point(granularity, criterion, scope, sparsity, seed, recovery, bits)
            yield from self._best_points(granularity, seed)

    def _uncut_points(self, seed: int) -> Iterator[Point]:
        """The uncut network of a seed in fewer bits: what every cut is compared with."""
        granularity = self.config.granularity[0]
        for bits in self.config.uncut_bits:
            if bits != 32:
                yield self.point(granularity, resolve(granularity).default_criterion, "layer", 0.0, seed, bits=bits)

    def _best_points(self, granularity: str, seed: int) -> Iterator[Point]:
        """The points of the best cut that needs no labels, which stand beside those that were asked for."""
        if best := self.config.best_of(granularity):
            for sparsity in self.config.sparsities_of(granularity):
                if sparsity > 0 and sparsity >= self.config.best_from:
                    for bits in self.config.bits:
                        yield self.point(granularity, *best, sparsity, seed, "best", bits)

    def is_beside(self, point: Point) -> bool:
        """Whether a point stands beside those that were asked for; that it cannot be measured is then no error."""
        is_best = point.recovery == "best" and self.config.best_of(point.granularity) is not None
        return is_best or point.bits not in self.config.bits

    def is_timed(self, point: Point) -> bool:
        """Whether a point has a timing: a network in fewer bits has none, as its modules show what its arithmetic gives
        and not how fast an engine is."""
        config = self.config
        return bool(config.latency_batches) and point.seed < config.timed_seeds and point.bits == 32

    def point(self, granularity: str, criterion: str, scope: str, sparsity: float, seed: int,
              recovery: str = "none", bits: int = 32) -> Point:
        """One point, with the settings that hold for it."""
        config, whole = self.config, sparsity == 0
        samples = self.task.samples_for(criterion, scope, recovery, config.calibration)
        return Point(granularity, criterion, scope, sparsity, self.skip, seed, recovery, samples,
                     "" if whole else config.layers,
                     0.0 if whole else config.min_sparsity, 1.0 if whole else config.max_sparsity,
                     "mean" if whole else config.pooling, config.budget if scope == "budget" else "",
                     config.round_to if hasattr(resolve(granularity), "round_to") and not whole else 1,
                     **recovery_settings(recovery, config.distil_steps), bits=bits,
                     bits_samples=config.calibration if bits == 8 else 0)

    def scans(self) -> Iterator[Point]:
        """The points that scans are made for: every method that is no control and has a choice of sparsities."""
        config = self.config
        wanted = config.scan or any("scan" in registry.get("scopes", s).needs for s in config.scope)
        for seed in range(config.seeds if wanted else 0):
            for granularity in (g for g in config.granularity if resolve(g).sparsity is None):
                for criterion in config.criteria_of(granularity):
                    if not as_criterion(criterion)[1].control:
                        point = self.point(granularity, criterion, "layer", 1.0, seed)
                        yield replace(point, samples=config.calibration, round_to=1)  # a scan rounds nothing

    def recoveries_of(self, granularity: str, criterion: str) -> list[str]:
        """The recoveries asked for that go with a criterion.

        Two controls say nothing together. A recovery that chooses itself what goes takes the default criterion alone,
        because it would ignore any other.
        """
        control, kinds = as_criterion(criterion)[1].control, kinds_of(granularity, self.config.layer_settings)
        usual = resolve(granularity).criterion(True)
        return [r for r in self.config.recovery if not (control and any(item.control for item in recoveries(r)))
                and not ignored_by(criterion, recoveries(r), kinds, usual)]

    @cached_property
    def most_samples(self) -> int:
        """The most training samples that any point or scan gets."""
        return max(max(p.samples, p.bits_samples) for p in (*self.points(), *self.scans()))

    @cached_property
    def skip(self) -> tuple[str, ...] | None:
        """The modules that stay whole: those asked for, and the layers that make the outputs; see
        :meth:`Task.all_skipped`."""
        return self.task.all_skipped(self.config.skip)

    @cached_property
    def whole_modules(self) -> frozenset[str]:
        """Every module that stays: those that :attr:`skip` covers, with what lies inside, and what is frozen."""
        model = self.task.make_model()
        frozen = () if self.skip == () else find_frozen_layers(model, self.task.structure)
        return resolve_skip(model, self.skip or ()).union(frozen)

    def trained_settings(self, seed: int) -> dict[str, Any]:
        """All that decides what a trained network is."""
        config = self.config
        how = {} if config.weights else {"epochs": config.epochs, "batch_size": config.batch_size, "lr": config.lr}
        return {"kind": "trained", "format": FORMAT, **self.identity, "seed": seed, "device": config.device, **how}

    def scan_settings(self, point: Point) -> dict[str, Any]:
        """All that decides a scan."""
        settings = {k: v for k, v in point.settings().items() if k not in ("scope", "sparsity")}
        return {"kind": "sensitivity", "format": FORMAT, "trained": self.trained_settings(point.seed), **settings}

    def point_settings(self, point: Point) -> dict[str, Any]:
        """All that decides a point's figures, its timing apart."""
        # In rows "calibration" are the samples shown, and "samples" those whose predictions are kept.
        settings = {"calibration" if k == "samples" else k: v for k, v in point.settings().items()}
        return {"kind": "point", "format": FORMAT, "trained": self.trained_settings(point.seed),
                "samples": self.config.samples, **settings}

    def timing_settings(self, point: Point) -> dict[str, Any]:
        """All that decides a point's timing."""
        config = self.config
        return {"kind": "latency", "point": key_of(self.point_settings(point)), "threads": config.threads,
                "batches": list(config.latency_batches), "seconds": config.latency_seconds, "engine": config.engine}

    def anatomy_settings(self, seed: int) -> dict[str, Any]:
        """All that decides the statistics of a network's weights."""
        return {"kind": "anatomy", "trained": key_of(self.trained_settings(seed)),
                "sparsity": list(self.config.sparsity), "skip": list(self.skip or ())}

    def sample_settings(self) -> dict[str, Any]:
        """All that decides the sample images."""
        return {"kind": "samples", "data": self.task.data.digest, "count": self.config.samples}

    def label_settings(self) -> dict[str, Any]:
        """All that decides the labels of the test samples."""
        return {"kind": "labels", "data": self.task.data.digest}

    def check_recoveries(self) -> None:
        """Refuse recoveries that can do nothing, and a granularity of which no criterion goes with any recovery."""
        config = self.config
        for item in (item for name in config.recovery for item in recoveries(name)):
            item.check()
        for granularity in config.granularity:
            if not any(self.recoveries_of(granularity, c) for c in config.criteria_of(granularity)):
                raise SecateurError(f"no point for granularity '{granularity}': recovery {', '.join(config.recovery)} "
                                    f"cannot be used with criterion {', '.join(config.criteria_of(granularity))}, as "
                                    "it chooses the weights itself; allowed: criterion "
                                    f"{resolve(granularity).criterion(True)}, or recovery reconstruct, which keeps "
                                    "the criterion's choice")

    def check_cuttable(self) -> None:
        """Refuse a network of which a granularity can cut nothing, or which has no batch norms that a criterion reads,
        before it is trained.

        Raises:
            SecateurError: as :class:`secateur.pruning.selection.Selection` words it.
        """
        for granularity in self.config.granularity:
            criteria = self.config.criteria_of(granularity)
            check_cuttable(self.task, self.point(granularity, criteria[0], "layer", 1.0, 0), criteria)


def load_grid(config: StudyConfig, make_model: Callable[[], nn.Module] | None = None,
              data: Dataset | None = None) -> Grid:
    """Load the data, build the network once, and see that they fit.

    Raises:
        SecateurError: data or network cannot be had, or do not fit each other.
    """
    dataset = data or datasets.resolve(config.data)
    make = make_model or partial(models.build, config.model, dataset.shape, dataset.classes)
    model = check_network(config, make, dataset, config.model)
    identity = {"model": config.model, "shapes": _digest(model), "data": dataset.digest}
    if config.weights:
        identity["weights"] = hashlib.sha256(Path(config.weights).read_bytes()).hexdigest()
    return Grid(config, LabelledTask(config, make, dataset, config.epochs, needs_groups="neuron" in config.granularity),
                identity)


def _digest(model: nn.Module) -> str:
    """What a network is besides its weights: its modules as torch prints them, its tensors' shapes."""
    shapes = repr([(n, tuple(t.shape), str(t.dtype)) for n, t in model.state_dict().items()])
    return hashlib.sha256(f"{type(model).__qualname__}{model!r}{shapes}".encode()).hexdigest()[:16]


def name_given(config: StudyConfig, make_model: Any, data: Any) -> StudyConfig:
    """The configuration with the names of a network and data that were given in its place."""
    names: dict[str, Any] = {}
    if make_model is not None:
        names["model"] = (make_model if isinstance(make_model, str)
                          else f"{make_model.__module__}:{make_model.__qualname__}")
    if data is not None:
        names["data"] = data if isinstance(data, str) else data.name if ":" in data.name else f"given:{data.name}"
    return replace(config, **names)


def default_folder(config: StudyConfig) -> Path:
    """``runs/MODEL-DATA``, with only letters, digits, dots and dashes; a draft has a folder of its own."""
    name = f"{config.model}-{Path(config.data).stem if config.data.endswith('.npz') else config.data}"
    name += "-quick" if config.draft else ""
    return Path("runs") / "".join(c if c.isalnum() or c in ".-_" else "-" for c in name)


def sample_images(data: Dataset, count: int) -> dict[str, Any]:
    """The first test images as bytes with their shape, and their labels; no shape where the data are no images."""
    x, y = data.test_x[:count], data.test_y[:count]
    picture = len(x) > 0 and x.ndim == 4 and x.shape[1] in (1, 3) and float(x.min()) >= 0 and float(x.max()) <= 1
    pixels = (x * 255).round().to(torch.uint8).movedim(1, -1).numpy() if picture else np.zeros(0, np.uint8)
    return {"pixels": pixels.tobytes(), "shape": list(pixels.shape) if picture else None, "labels": y.tolist()}


def test_labels(data: Dataset) -> dict[str, Any]:
    """The class of every test sample, as the bytes of little-endian 32-bit integers."""
    return {"labels": data.test_y.numpy().astype("<u4").tobytes()}
