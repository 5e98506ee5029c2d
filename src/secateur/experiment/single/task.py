"""A network with what it is measured on: labelled data as in a study, or samples without labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from secateur import graph
from secateur.core import registry
from secateur.core.errors import SecateurError
from secateur.core.modules import Plain, device_of, moved
from secateur.core.progress import Progress
from secateur.core.types import Structure
from secateur.data.calibration import Calibration, as_batch, calibration
from secateur.data.datasets.base import Dataset
from secateur.data.samples import GIVEN, HeldOutSamples
from secateur.experiment.single.config import CutConfig
from secateur.experiment.study import check_cuttable
from secateur.experiment.sweep import steps, trained
from secateur.experiment.task import problem
from secateur.experiment.timing import Timing
from secateur.graph.check import check_weights
from secateur.measure.accuracy import evaluate
from secateur.measure.agreement import Closeness, closeness
from secateur.models.resolve import Kind, Source
from secateur.pruning.criteria.base import as_criterion
from secateur.pruning.granularity import resolve
from secateur.pruning.layer_rules import resolve_skip
from secateur.pruning.signals.base import SOURCES
from secateur.recovery.pipeline import name_of, recoveries

COMPARED = 256
HELD = "no labels: outputs are compared with the original's, on samples that were held out"


class Case(ABC):
    """A network under the knife.

    Attributes:
        config: the settings.
        kind: the kind of network.
        source: where the network comes from.
        notes: what a reader has to know of network and data.
        chance: the accuracy of guessing; None without labels.
    """

    config: CutConfig
    kind: Kind
    source: Source
    notes: tuple[str, ...] = ()
    chance: float | None = None

    @property
    @abstractmethod
    def structure(self) -> Structure:
        """The network's targets, and its groups where neurons are cut."""

    @property
    @abstractmethod
    def skip(self) -> tuple[str, ...]:
        """The modules that stay whole."""

    @property
    @abstractmethod
    def example(self) -> Any:
        """One sample."""

    @abstractmethod
    def trained(self, progress: Progress) -> nn.Module:
        """The network, trained where that is asked for."""

    @abstractmethod
    def shown(self) -> tuple[Calibration | None, int]:
        """What criterion, scope and recoveries look at, and how many samples that are."""

    @abstractmethod
    def accuracy(self, model: nn.Module) -> float | None:
        """The accuracy on the test part, in [0, 1]; None without labels."""

    def closeness(self, original: nn.Module, cut: nn.Module) -> Closeness | None:
        """How near the outputs are to the original's on samples held out; None where accuracy is measured."""
        return None

    @abstractmethod
    def batch(self, size: int) -> tuple[Tensor, ...]:
        """Inputs of a batch size, one by one."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs, where they are keyword arguments."""
        return ()

    def timed_as(self, model: nn.Module) -> nn.Module:
        """The network as it is timed."""
        return model

    def timed_with(self, size: int) -> Any:
        """Inputs of a batch size as it is timed with: one, or a tuple of several."""
        found = self.batch(size)
        return found if len(found) > 1 else found[0]

    def example_on(self, model: nn.Module) -> Any:
        """One sample on the network's device."""
        return pytree.tree_map(partial(moved, device=device_of(model)), self.example)

    def example_of(self, size: int, device: torch.device | None = None) -> Any:
        """So many samples, as :func:`secateur.graph.inputs` takes them."""
        found = self.batch(size) if device is None else tuple(x.to(device) for x in self.batch(size))
        return dict(zip(self.names, found, strict=True)) if self.names else found

    @property
    def timing(self) -> Timing:
        """How it is timed."""
        config = self.config
        return Timing(config.latency_batches, config.latency_seconds, config.threads, config.engine)

    def outputs(self, model: nn.Module, size: int) -> list[Tensor]:
        """The tensors that a network gives for so many samples."""
        inputs = pytree.tree_map(partial(moved, device=device_of(model)), self.batch(size))
        with torch.inference_mode():
            return [v for v in pytree.tree_leaves(Plain(model, self.names).eval()(*inputs)) if isinstance(v, Tensor)]


class Labelled(Case):
    """A classifier with a data set: what a study of one point has."""

    def __init__(self, config: CutConfig, kind: Kind, source: Source, data: Dataset):
        assumed = "" if config.data else f"no --data was given, so {config.chosen_data} was taken"
        self.config, self.kind, self.source, self.notes = config, kind, source, source.notes
        self.notes += (f"{assumed}: --data names other data",) if assumed else ()
        try:
            self.task = problem(config.study, source.make, data)
        except SecateurError as error:
            if not assumed:
                raise
            raise SecateurError(f"{error}; {assumed}: give --data, or --example pkg.module:name") from error
        self.chance = 1 / data.classes

    @property
    def structure(self) -> Structure:
        """The network's targets and groups."""
        return self.task.structure

    @property
    def skip(self) -> tuple[str, ...]:
        """The modules asked for, and the layers that make the outputs."""
        return self.task.skip

    @property
    def example(self) -> Tensor:
        """The first test sample."""
        return self.task.data.test_x[:1]

    def trained(self, progress: Progress) -> nn.Module:
        """The network, after the epochs that are asked for."""
        check_cuttable(self.task)
        progress.stage("train", steps(self.task))
        model, _, result = trained(self.task, self.config.seed, progress)
        progress.trained({"seed": self.config.seed, "parameters": sum(p.numel() for p in model.parameters()),
                          "accuracy": result.accuracy, "loss": result.loss})
        return model

    def shown(self) -> tuple[Calibration | None, int]:
        """Training samples with their labels."""
        config = self.config
        count = max(self.task.samples_for(config.chosen_criterion, name, config.scope) for name in config.recoveries)
        if not count:
            return None, 0
        x, y = self.task.shown(count)
        return calibration((x.to(config.device), y.to(config.device))), len(x)

    def accuracy(self, model: nn.Module) -> float:
        """On the test part."""
        return evaluate(model, self.task.data.test_x, self.task.data.test_y).accuracy

    def batch(self, size: int) -> tuple[Tensor, ...]:
        """The first test samples, from the start again where there are fewer."""
        x = self.task.data.test_x
        return (x[torch.arange(size) % len(x)].contiguous(),)


class Unlabelled(Case):
    """Any network with samples without labels, or with nothing but an example of its inputs."""

    def __init__(self, config: CutConfig, kind: Kind, source: Source, samples: HeldOutSamples | None):
        self.config, self.kind, self.source = config, kind, source
        if config.epochs:
            raise SecateurError(f"epochs {config.epochs} without labelled data: allowed is none; what learns without "
                                "labels after the cut is a recovery")
        torch.manual_seed(config.seed)
        self.model = source.make().to(config.device).eval()
        check_weights(self.model)
        resolve_skip(self.model, config.skip)
        self.samples = samples or self._made_up()
        self.notes = (*source.notes, self.samples.note or HELD)

    def _made_up(self) -> HeldOutSamples:
        """The example of the source as the only samples."""
        if self.source.example is None:
            raise SecateurError(f"model '{self.config.model}' does not tell its inputs: give --data, or --example "
                                "pkg.module:name")
        example, drawn = self.source.example, self.source.drawn
        one = Calibration([as_batch(example if not isinstance(example, tuple) else (example, None))])
        told = f" (drawn at random: {drawn})" if drawn else ""
        return HeldOutSamples(one, one, f"no --data: the outputs were compared for example inputs alone{told}, which "
                                        "says little of how good the cut network is; no recovery and no criterion saw "
                                        "any samples")

    @cached_property
    def structure(self) -> Structure:
        """The targets; where neurons are cut the groups, traced with one sample."""
        if not resolve(self.config.granularity).needs_example:
            return Structure(graph.targets(self.model), (), ())
        return graph.trace(self.model, self.example_on(self.model))

    @property
    def skip(self) -> tuple[str, ...]:
        """The modules asked for alone: which layer makes the outputs says little of a network that is no classifier."""
        return self.config.skip

    @property
    def example(self) -> Any:
        """The first sample that is shown."""
        return self.samples.shown.example()

    def trained(self, progress: Progress) -> nn.Module:
        """The network as it is."""
        progress.stage("train", 0)
        return self.model

    def shown(self) -> tuple[Calibration | None, int]:
        """The first samples, as many as ``calibration`` says; none where nothing looks at them.

        Raises:
            SecateurError: something looks at samples, and there are none.
        """
        seeing = looking(self.config)
        if seeing and not self.config.informed:
            raise SecateurError(f"{' and '.join(seeing)} without samples: {GIVEN}; recovery none with the default "
                                "criterion and scope needs none")
        if not seeing:
            return None, 0
        found = self.samples.shown.first(self.config.calibration)
        return found, sum(map(len, found))

    def accuracy(self, model: nn.Module) -> None:
        """There are no labels."""
        return

    def closeness(self, original: nn.Module, cut: nn.Module) -> Closeness:
        """On the samples held out."""
        return closeness(original, cut, self.samples.held)

    @property
    def names(self) -> tuple[str, ...]:
        """As the samples have them."""
        return self.samples.held.names

    def timed_as(self, model: nn.Module) -> nn.Module:
        """The network with inputs by place."""
        return Plain(model, self.names).eval()

    def batch(self, size: int) -> tuple[Tensor, ...]:
        """Samples held out of the middling length, repeated."""
        batches = sorted(self.samples.held, key=lambda b: max(v.numel() // max(1, len(b)) for v in b.inputs))
        inputs = batches[len(batches) // 2].inputs
        return tuple(v[torch.arange(size) % len(v)].contiguous() for v in inputs)

    @property
    def timing(self) -> Timing:
        """At the only batch size that the network takes, where there is one."""
        timing, only = super().timing, self.source.batch
        return Timing((only,) if only and timing.batches else timing.batches, timing.seconds, timing.threads,
                      timing.engine)


def looking(config: CutConfig) -> list[str]:
    """Criterion, scope and recoveries, those of them that look at samples."""
    criterion, scope = config.chosen_criterion, config.scope
    found = {f"criterion {criterion}": any(SOURCES[n] for n in as_criterion(criterion)[1].needs if n != "seed"),
             f"scope {scope}": bool(registry.get("scopes", scope).needs),
             **{f"recovery {name_of(r)}": bool(r.needs) for r in recoveries(config.recoveries)}}
    return [name for name, looks in found.items() if looks]
