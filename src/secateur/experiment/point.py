"""One trained network with its test data: prune it at a point of the sweep, evaluate it, time it.

This is what a worker of the sweep holds. Whatever serves several points is computed once: the scores
and their order for all sparsities of a criterion, the evaluation of the unpruned network.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from secateur.core.errors import RunError
from secateur.core.types import Plan, Structure
from secateur.data.calibration import Calibration, calibration
from secateur.experiment.row import method_facts
from secateur.experiment.spec import spec_of
from secateur.experiment.timing import Timing
from secateur.experiment.timing import time as timing_of
from secateur.files import file_bytes
from secateur.measure.accuracy import Evaluation, evaluate
from secateur.measure.flops import Work, work
from secateur.measure.size import nonzeros, size, tensors
from secateur.pruning.apply import applied
from secateur.pruning.checks import REFIT, underdetermined_layers
from secateur.pruning.scan import GRID, Scan
from secateur.pruning.selection import Selection
from secateur.recovery.methods.base import RowCounts
from secateur.recovery.pipeline import recover

ROOM = 1 << 28
"""Bytes of recovered networks that one subject keeps."""


@dataclass(frozen=True)
class Point:
    """One place of the sweep: how one network is cut."""

    granularity: str
    criterion: str
    scope: str
    sparsity: float
    skip: tuple[str, ...]
    seed: int
    recovery: str = "none"
    samples: int = 0
    layers: str = ""
    least: float = 0.0
    most: float = 1.0
    pooling: str = "mean"
    budget: str = ""

    def settings(self) -> dict[str, Any]:
        """The point as plain JSON values; what is at its default is left out, so that earlier rows keep their keys."""
        later = {f.name: f.default for f in fields(self) if f.default is not MISSING}
        return {**{k: v for k, v in asdict(self).items() if v != later.get(k, MISSING)}, "skip": list(self.skip)}


@dataclass(frozen=True)
class Bundle:
    """All that a worker needs of one trained network, by path or as bytes: small to send, opened once a process."""

    key: str
    make_model: Callable[[], nn.Module]
    structure: Structure
    network: Path | bytes
    tests: Path | bytes
    samples: int
    device: str = "cpu"
    training: Path | bytes | None = None
    scans: tuple[tuple[str, str, Any], ...] = ()

    def carried(self) -> Bundle:
        """The same with the files' bytes inside, for a worker that does not share this machine's disk."""
        network, tests = (f.read_bytes() if isinstance(f, Path) else f for f in (self.network, self.tests))
        training = self.training.read_bytes() if isinstance(self.training, Path) else self.training
        return replace(self, network=network, tests=tests, training=training)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bundle) and other.key == self.key


@lru_cache(maxsize=4)
def opened(bundle: Bundle) -> Subject:
    """The subject of a bundle, kept for the points that follow."""
    model = bundle.make_model()
    model.load_state_dict(_tensors(bundle.network))
    tests = _tensors(bundle.tests)
    training = _tensors(bundle.training) if bundle.training is not None else None
    return Subject(model.eval().to(bundle.device), tests["x"], tests["y"], bundle.structure, bundle.samples,
                   (training["x"], training["y"]) if training else None,
                   {(g, c): Scan.read(found) for g, c, found in bundle.scans})


def _tensors(source: Path | bytes) -> dict[str, Tensor]:
    """Tensors in memory of their own: aligned alike, matrix products are the same to the last bit on every worker."""
    try:
        found = safetensors.torch.load(source) if isinstance(source, bytes) else safetensors.torch.load_file(source)
        return {name: tensor.clone() for name, tensor in found.items()}
    except safetensors.SafetensorError as error:
        raise RunError(f"cannot read '{source!s:.200}': {error}; delete it and it is made again") from error


class Subject:
    """A trained network under test.

    Args:
        model: the network; never changed.
        x, y: test inputs and labels.
        structure: the network's targets and groups.
        samples: how many first test samples have their predictions kept.
        training: training inputs and labels, where a criterion, a scope or a recovery needs them.
        scans: the scans that were made before, by granularity and criterion.
    """

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, structure: Structure, samples: int = 0,
                 training: tuple[Tensor, Tensor] | None = None, scans: dict[tuple[str, str], Scan] | None = None):
        self.model, self.x, self.y, self.structure, self.samples = model, x, y, structure, samples
        self.training, self.scans = training, scans or {}
        self._selections: dict[Point, Selection] = {}
        self._made: dict[Point, nn.Module] = {}
        self._rows: dict[Point, RowCounts] = {}

    @cached_property
    def evaluation(self) -> Evaluation:
        """The unpruned network's evaluation."""
        return evaluate(self.model, self.x, self.y)

    @cached_property
    def work(self) -> Work:
        """The unpruned network's arithmetic, for one sample."""
        return work(self.model, self.x[:1])

    def pruned(self, point: Point) -> tuple[Plan, nn.Module]:
        """The plan of a point and the network cut by it."""
        selection = self.selection(point)
        plan = selection.plan(point.sparsity) if point.sparsity else selection.whole()
        return plan, self._recovered(plan, point) if point.recovery != "none" else (
            applied(self.model, plan) if plan.removed else self.model)

    def calibration(self, samples: int) -> Calibration | None:
        """The first training samples, of which there are ``samples``; None for none."""
        if not samples or self.training is None:
            return None
        x, y = self.training
        return calibration((x[:samples], y[:samples]))

    def _recovered(self, plan: Plan, point: Point) -> nn.Module:
        """The network cut and recovered, kept for the timing that follows while there is room."""
        if point not in self._made:
            cut = applied(self.model, plan) if plan.removed else copy.deepcopy(self.model)
            result = recover(self.model, cut, plan, point.recovery, self.calibration(point.samples), point.seed)
            self._made[point], self._rows[point] = result.network, result.rows
            while len(self._made) > 1 and sum(held(model) for model in self._made.values()) > ROOM:
                del self._made[next(iter(self._made))]
        return self._made[point]

    def selection(self, point: Point) -> Selection:
        """The ranked scores that serve all sparsities of a point, kept for the points that follow."""
        kind = replace(point, sparsity=0.0, recovery="none")
        if kind not in self._selections:
            spec = spec_of(point.granularity, point.criterion, point.scope, layers=json.loads(point.layers or "{}"),
                           min_sparsity=point.least, max_sparsity=point.most, pooling=point.pooling,
                           budget=point.budget, skip=point.skip, seed=point.seed)
            self._selections = {kind: Selection(
                self.model, spec, samples=self.calibration(point.samples), example=self.x[:1],
                structure=self.structure, outputs=(), scan=self.scans.get((point.granularity, point.criterion)))}
        return self._selections[kind]

    def scan(self, point: Point) -> dict[str, Any]:
        """Each layer cut by itself, with a point's granularity, criterion and settings."""
        return self.selection(replace(point, scope="layer", budget="")).scan(GRID).plain()

    def measure(self, point: Point) -> dict[str, Any]:
        """Everything about a point but its timing."""
        plan, model = self.pruned(point)
        result = self.evaluation if model is self.model else evaluate(model, self.x, self.y)
        cost = work(model, self.x[:1]) if plan.granularity == "neuron" and plan.removed else self.work
        counts = nonzeros(model)
        return {"reached": plan.reached, "items": plan.items, "removed": plan.removed,
                "loss": result.loss, "accuracy": result.accuracy, "tests": len(self.y),
                "correct": np.packbits(result.correct).tobytes(),
                "predictions": result.predictions[:self.samples].tolist(),
                **size(model, counts), "bytes_file": file_bytes(model),
                "flops": cost.flops, "flops_nonzero": cost.nonzero_flops(model, counts),
                "layers": plan.layers(),
                "notes": [*plan.notes, *underdetermined_layers(self._rows.get(point, {}), REFIT)],
                **self.seen(point), **method_facts(point.criterion, point.recovery)}

    def seen(self, point: Point) -> dict[str, int]:
        """How many training samples were shown for a point, where any were."""
        return {"samples_seen": min(point.samples, len(self.training[0]))} if point.samples and self.training else {}

    def time(self, point: Point, timing: Timing) -> dict[str, Any]:
        """The latency of a point at every batch size, beside the unpruned network's.

        Raises:
            MeasurementError: the sparse run's outputs are not the dense run's.
        """
        plan, model = self.pruned(point)
        return timing_of(self.model, model, plan.granularity != "neuron", self.inputs, timing,
                         f"{plan.criterion} at sparsity {plan.sparsity:g}")

    def inputs(self, batch: int) -> Tensor:
        """The first ``batch`` test inputs, from the start again where there are fewer."""
        return self.x[torch.arange(batch) % len(self.x)].contiguous()


def held(model: nn.Module) -> int:
    """The bytes of a network's tensors."""
    return sum(t.numel() * t.element_size() for _, t in tensors(model))
