"""A trained network that is cut, measured and timed at points.

Whatever serves several points is computed once: the scores and their order for all sparsities of a criterion, the
evaluation of the unpruned network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from torch import Tensor, nn

from secateur.core import text
from secateur.core.errors import RunError
from secateur.core.modules import device_of
from secateur.core.tensors import to_device
from secateur.core.types import Plan, Structure
from secateur.data.datasets.base import Dataset
from secateur.experiment.config import StudyConfig
from secateur.experiment.point import Point
from secateur.experiment.recovered import RecoveredNetworks
from secateur.experiment.row import method_facts
from secateur.experiment.task import LabelledTask, Task
from secateur.files import file_bytes
from secateur.measure.accuracy import Evaluation
from secateur.measure.flops import Work, work
from secateur.measure.size import nonzeros, size, tensor_bytes
from secateur.pruning.apply import carry_out
from secateur.pruning.checks import REFIT, RowCounts, underdetermined_layers
from secateur.pruning.criteria.base import as_criterion
from secateur.pruning.granularity import resolve
from secateur.pruning.scan import GRID, Scan
from secateur.pruning.selection import Selection
from secateur.recovery.methods.distil import with_steps
from secateur.recovery.original import Original
from secateur.recovery.pipeline import recover, recoveries
from secateur.recovery.quantizing import Quantized, quantized
from secateur.recovery.stages import Stage
from secateur.runtime.timing import Timing, time_cut

_MOST_BYTES = 1 << 28
"""Bytes of recovered networks that one trial keeps, 256 MiB: several workers share a machine's memory."""


@dataclass(frozen=True)
class Bundle:
    """All that a worker needs of one trained network, by path or as bytes: small to send, opened once a process."""

    key: str
    config: StudyConfig
    make_model: Callable[[], nn.Module]
    structure: Structure
    outputs: tuple[str, ...]
    network: Path | bytes
    tests: Path | bytes
    training: Path | bytes | None = None
    scans: tuple[tuple[str, str, Any], ...] = ()
    recovered: Path | None = None
    trained: str = ""

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bundle) and other.key == self.key


@lru_cache(maxsize=4)
def open_bundle(bundle: Bundle) -> Trial:
    """The network of a bundle with its data, kept for the points that follow."""
    model = bundle.make_model()
    model.load_state_dict(_tensors(bundle.network))
    tests = _tensors(bundle.tests)
    training = _tensors(bundle.training) if bundle.training is not None else {k: v[:0] for k, v in tests.items()}
    task = LabelledTask(bundle.config, bundle.make_model,
                        Dataset("", training["x"], training["y"], tests["x"], tests["y"], classes=1),
                        structure=bundle.structure, outputs=bundle.outputs, in_order=True)
    return Trial(model.eval().to(bundle.config.device), task,
                 {(g, c): Scan.read(scan) for g, c, scan in bundle.scans}, bundle.config.samples,
                 RecoveredNetworks(bundle.recovered, bundle.trained, bundle.make_model))


def _tensors(source: Path | bytes) -> dict[str, Tensor]:
    """Tensors in memory of their own: aligned alike, matrix products are the same to the last bit on every worker."""
    try:
        values = safetensors.torch.load(source) if isinstance(source, bytes) else safetensors.torch.load_file(source)
        return {name: tensor.clone() for name, tensor in values.items()}
    except safetensors.SafetensorError as error:
        raise RunError(f"cannot read '{source!s:.200}': {error}; delete it, and secateur makes it again") from error


class Trial:
    """A trained network that is cut, measured and timed.

    Args:
        model: the network; never changed.
        task: what it is cut for and measured on.
        scans: the scans that were made before, by granularity and criterion.
        samples: how many first test samples have their predictions kept.
        recovered: keeps networks that were measured; by default none.
    """

    def __init__(self, model: nn.Module, task: Task, scans: dict[tuple[str, str], Scan] | None = None,
                 samples: int = 0, recovered: RecoveredNetworks | None = None):
        self.model, self.task, self.scans, self.samples = model, task, scans or {}, samples
        self.recovered = recovered or RecoveredNetworks(None, "", type(model))
        self._selections: dict[Point, Selection] = {}
        self._networks: dict[Point, nn.Module] = {}
        self._original: dict[int, Original] = {}
        self._row_counts: dict[Point, RowCounts] = {}
        self._left_out: dict[Point, Sequence[str]] = {}
        self._removal_notes: dict[Point, Sequence[str]] = {}
        self._stages: dict[Point, tuple[Stage, ...]] = {}
        self._quantized: dict[tuple[int, int, int], Quantized] = {}

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """The unpruned network's evaluation."""
        return self.task.evaluate(self.model)

    @cached_property
    def work(self) -> Work:
        """The unpruned network's arithmetic, for one sample."""
        return work(self.model, self.task.example)

    def cut(self, point: Point) -> tuple[Plan, nn.Module]:
        """The plan of a point and the network cut by it; a recovered network that is kept is not recovered again."""
        if point.bits != 32:
            plan, network = self.cut(point.in_float32)
            return plan, self.quantize(network, point).network
        plan = self.plan(point)
        if point.recovery != "none" and point not in self._networks and (
                kept := self.recovered.load(point)) is not None:
            return plan, kept.to(device_of(self.model))
        return plan, self._make(plan, point)

    def plan(self, point: Point) -> Plan:
        """What goes at a point."""
        selection = self.selection(point)
        return selection.whole() if point.is_whole else selection.plan(point.sparsity)

    def quantize(self, network: nn.Module, point: Point) -> Quantized:
        """A network of a point in the point's bits; the uncut one is quantised once for all points."""
        key = (point.bits, point.bits_samples, point.seed)
        if network is self.model and key in self._quantized:
            return self._quantized[key]
        samples = self.task.calibration(point.bits_samples)
        made = quantized(network, point.bits, samples, point.seed)  # type: ignore[arg-type]
        if network is self.model:
            self._quantized[key] = made
        return made

    def _make(self, plan: Plan, point: Point) -> nn.Module:
        """The network of a point in float32, cut and recovered."""
        if point.recovery != "none":
            return self._recover(plan, point)
        return self._carry_out(plan, point) if plan.removed else self.model

    def _carry_out(self, plan: Plan, point: Point) -> nn.Module:
        removal = carry_out(self.model, plan)
        self._removal_notes[point] = removal.notes
        return removal.network

    def removal_notes(self, point: Point) -> tuple[str, ...]:
        """What had to be set in the network of a point when neurons were removed."""
        return tuple(self._removal_notes.get(point, ()))

    def notes(self, point: Point) -> list[str]:
        """What is to be known of the recovery of a point."""
        return [*underdetermined_layers(self._row_counts.get(point, {}), REFIT), *self._left_out.get(point, ())]

    def stages(self, point: Point) -> tuple[Stage, ...]:
        """What each step of the recovery of a point gained; none where it was recovered before and kept."""
        return self._stages.get(point, ())

    def output_notes(self, plan: Plan, point: Point) -> tuple[str, ...]:
        """What is to be known of the layers that make the outputs, where they were to stay; neurons of theirs never go.
        """
        kept = plan.removed and point.skip != () and not resolve(plan.granularity).needs_example
        return self.task.output_notes if kept else ()

    def samples_shown(self, point: Point) -> int:
        """How many samples criterion, scope, recoveries and quantising of a point were shown."""
        return sum(map(len, self.task.calibration(max(point.samples, point.bits_samples)) or ()))

    def _recover(self, plan: Plan, point: Point) -> nn.Module:
        """The network cut and recovered, kept for the timing that follows while there is room."""
        if point not in self._networks:
            cut = self._carry_out(plan, point) if plan.removed else copy.deepcopy(self.model)
            asked = self._asked(point.samples)
            items = [with_steps(item, point.distil_steps) for item in recoveries(point.recovery)]
            result = recover(self.model, cut, plan, items, asked.samples if asked else None, point.seed, asked)
            self._networks[point], self._row_counts[point] = result.network, result.rows
            self._left_out[point], self._stages[point] = result.notes, result.stages
            while len(self._networks) > 1 and sum(map(tensor_bytes, self._networks.values())) > _MOST_BYTES:
                del self._networks[next(iter(self._networks))]
        return self._networks[point]

    def _asked(self, samples: int) -> Original | None:
        """What the unpruned network gives for so many samples: the same for every cut of it, so computed once."""
        if samples not in self._original and (found := self.task.calibration(samples)) is not None:
            self._original = {samples: Original(self.model, found)}
        return self._original.get(samples)

    def selection(self, point: Point) -> Selection:
        """The ranked scores that serve all sparsities of a point, kept for the points that follow."""
        kind = replace(point, sparsity=0.0, recovery="none")
        if kind not in self._selections:
            example = to_device(self.task.example, device_of(self.model))
            self._selections = {kind: Selection(
                self.model, point.spec, samples=self.task.calibration(point.samples), example=example,
                structure=self.task.structure, outputs=self.task.outputs,
                scan=self.scans.get((point.granularity, point.criterion)))}
        return self._selections[kind]

    def scan(self, point: Point) -> dict[str, Any]:
        """Each layer cut by itself, with a point's granularity, criterion and settings."""
        return self.selection(replace(point, scope="layer", budget="")).scan(GRID).plain()

    def measure(self, point: Point) -> dict[str, Any]:
        """Everything about a point but its timing, of a network with labels."""
        if point.bits != 32:
            return self._measure_in_bits(point)
        plan = self.plan(point)
        model = self._make(plan, point)
        if point.recovery != "none":
            self.recovered.keep(point, model)
        return self._figures(plan, model, point)

    def _measure_in_bits(self, point: Point) -> dict[str, Any]:
        """The same of a network in fewer bits: parameters and FLOPs are those of the cut, bytes those of the codes."""
        plan, model = self.cut(point.in_float32)
        if point.recovery != "none":
            self.recovered.keep(point.in_float32, model)
        made = self.quantize(model, point)
        own = size(made.network)
        return {**self._figures(plan, model, point, made), "bytes": own["bytes"], "bytes_sparse": own["bytes_sparse"]}

    def _figures(self, plan: Plan, model: nn.Module, point: Point, made: Quantized | None = None) -> dict[str, Any]:
        """The figures of a cut network, run as ``made`` where it is quantised."""
        network = made.network if made else model
        result = self.evaluation if network is self.model else self.task.evaluate(network)
        assert result is not None
        cost = work(model, self.task.example) if plan.granularity == "neuron" and plan.removed else self.work
        counts, samples = nonzeros(model), self.samples_shown(point)
        notes = [*self.output_notes(plan, point), *plan.notes, *self.notes(point.in_float32),
                 *(quantising_notes(model, made) if made else ())]
        stages = self.stages(point.in_float32)
        return {"reached": plan.reached, "items": plan.items, "removed": plan.removed,
                "loss": result.loss, "accuracy": result.accuracy, "tests": len(result.correct),
                "correct": np.packbits(result.correct).tobytes(),
                "predictions": result.predictions[:self.samples].tolist(),
                **size(model, counts), "bytes_file": file_bytes(network),
                "flops": cost.flops, "flops_nonzero": cost.nonzero_flops(model, counts),
                "layers": plan.layers(), "notes": notes,
                **({"samples_seen": samples} if samples else {}),
                **({"stages": [one.plain() for one in stages]} if stages else {}),
                **method_facts(point.criterion, point.recovery)}

    def time(self, plan: Plan, cut: nn.Module, timing: Timing) -> dict[str, Any]:
        """The latency of a cut network at every batch size, beside the unpruned network's.

        Raises:
            MeasurementError: the sparse run's outputs are not the dense run's.
        """
        return time_cut(self.task.as_timed(self.model), self.task.as_timed(cut), plan.granularity != "neuron",
                        self._inputs, timing, str(plan).partition("\n")[0])

    def _inputs(self, size: int) -> Any:
        """Inputs of a batch size: one, or a tuple of several."""
        inputs = self.task.batch(size)
        return inputs if len(inputs) > 1 else inputs[0]


def quantising_notes(model: nn.Module, made: Quantized) -> list[str]:
    """How near a quantised network's outputs are to the cut network's, and which layers are not quantised, and why."""
    near = made.near
    if near is None:
        return made.notes(model)
    told = f"the same class for {text.percent(near.same, 2)}" if near.same is not None else f"cosine {near.cosine:.4f}"
    return [f"outputs in int8 beside float32: {told} of {text.count(near.samples)} samples", *made.notes(model)]


def check_cuttable(task: LabelledTask, point: Point, criteria: Sequence[str]) -> None:
    """Refuse a network of which nothing can be cut, or that lacks the batch norms that a criterion reads, before it is
    trained.

    Raises:
        SecateurError: as :class:`secateur.pruning.selection.Selection` words it.
    """
    model = task.make_model().eval()
    reading = [c for c in criteria if "scale" in as_criterion(c)[1].needs]
    for criterion in (resolve(point.granularity).default_criterion, *reading):
        spec = replace(point, criterion=criterion, scope="layer", budget="").spec
        Selection(model, spec, example=task.example, structure=task.structure, outputs=task.outputs)
