"""A network with what it is cut for and measured on: the same questions for a study and for the cut of one network."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from secateur import graph, models
from secateur.core.errors import OutputLayerWarning, SecateurError, UnsupportedError
from secateur.core.modules import Plain, device_of
from secateur.core.progress import Progress
from secateur.core.pytree import repeat
from secateur.core.tensors import tensors_in, to_device
from secateur.core.types import Structure
from secateur.data.calibration import Calibration, calibration
from secateur.data.datasets.base import Dataset
from secateur.data.samples import HeldOutSamples
from secateur.experiment.combinations import sample_readers
from secateur.experiment.common import CommonConfig
from secateur.graph.check import check_weights
from secateur.measure.accuracy import Evaluation, evaluate
from secateur.measure.agreement import Agreement, agreement
from secateur.measure.latency import torch_threads
from secateur.pruning.layer_rules import resolve_skip
from secateur.pruning.output_layers import NONE, find_output_layers
from secateur.recovery.pipeline import RecoveryChoice, recoveries
from secateur.training.loop import train

Trained = tuple[nn.Module, list[dict[str, Any]], Evaluation | None]
"""A network, the records of its epochs, and its evaluation where there are labels."""


_COMPARED = 1024
"""How many test samples two networks' outputs are compared on, where accuracy is measured on all."""


class Task(ABC):
    """A network with what it is cut for and measured on.

    Attributes:
        example: one sample.
        steps: how many steps of training it takes to make the network.
        chance: the accuracy of guessing; None without labels.
        labelled_samples: how many training samples with labels there are.
        names: the names of the inputs, where they are keyword arguments.
        output_notes: what is to be known of the layers that make the outputs.
    """

    example: Any
    steps: int = 0
    chance: float | None = None
    labelled_samples: int = 0
    names: tuple[str, ...] = ()
    output_notes: tuple[str, ...] = ()

    @property
    @abstractmethod
    def structure(self) -> Structure:
        """The network's targets, and its groups where neurons are cut."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """The layers that make the outputs and stay whole."""

    @abstractmethod
    def train(self, seed: int, progress: Progress) -> Trained:
        """The network of a seed, trained where that is asked for."""

    @abstractmethod
    def calibration(self, count: int) -> Calibration | None:
        """The first ``count`` samples of those that may be shown to criterion, scope and recoveries; None for none."""

    @abstractmethod
    def evaluate(self, model: nn.Module) -> Evaluation | None:
        """Loss, accuracy and predictions on the test samples; None without labels."""

    @abstractmethod
    def closeness(self, original: nn.Module, cut: nn.Module) -> Agreement:
        """How near the outputs are to the original's on samples held out."""

    @abstractmethod
    def batch(self, size: int) -> tuple[Tensor, ...]:
        """Inputs of a batch size one by one, from samples that nothing was fitted to, repeated where there are few."""

    @abstractmethod
    def as_timed(self, model: nn.Module) -> nn.Module:
        """The network as it is timed, with inputs as :meth:`batch` gives them."""

    @final
    def samples_for(self, criterion: str, scope: str, recovery: RecoveryChoice, most: int) -> int:
        """How many samples are shown: all where a recovery trains with labels, ``most`` where something looks at
        samples, else none."""
        if self.labelled_samples and any("labels" in item.needs for item in recoveries(recovery)):
            return self.labelled_samples
        return most if sample_readers(criterion, scope, recovery) else 0

    @final
    def all_skipped(self, skip: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Everything that stays whole by name: what was asked for and the output layers. An explicit () lets these go,
        too; None, which says nothing of frozen layers, is none of both."""
        return () if skip == () else tuple(dict.fromkeys((*(skip or ()), *filter(None, self.outputs)))) or None

    @final
    def example_of(self, size: int, device: torch.device | None = None) -> Any:
        """So many samples, as :func:`secateur.graph.inputs` takes them."""
        batch = self.batch(size) if device is None else tuple(x.to(device) for x in self.batch(size))
        return dict(zip(self.names, batch, strict=True)) if self.names else batch

    @final
    def outputs_of(self, model: nn.Module, size: int) -> list[Tensor]:
        """The tensors that a network gives for so many samples."""
        inputs = to_device(self.batch(size), device_of(model))
        with torch.inference_mode():
            return tensors_in(Plain(model, self.names).eval()(*inputs))


@final
class LabelledTask(Task):
    """A classifier with a data set.

    Args:
        config: how it is trained, and which modules stay whole.
        make_model: makes the network.
        data: training and test samples.
        epochs: how long it is trained, where no weights are given.
        structure: its structure, where it was traced before.
        outputs: the layers that make the outputs, where a run has kept them.
        needs_groups: whether neurons are cut, so that the network has to be traced.
        in_order: whether the training samples stand in the order in which they are shown, as a worker has them.
    """

    def __init__(self, config: CommonConfig, make_model: Callable[[], nn.Module], data: Dataset, epochs: int = 0, *,
                 structure: Structure | None = None, outputs: tuple[str, ...] | None = None, needs_groups: bool = True,
                 in_order: bool = False):
        self.config, self.make_model, self.data, self.epochs = config, make_model, data, epochs
        self.example, self.chance = data.test_x[:1], 1 / max(1, data.classes)
        self.labelled_samples = len(data.train_x)
        self.steps = 0 if config.weights else epochs * -(-self.labelled_samples // config.batch_size)
        self._structure, self.kept_outputs = structure, outputs
        self._needs_groups, self._in_order = needs_groups, in_order

    @property
    def structure(self) -> Structure:
        """The targets and groups, traced when first asked for.

        Raises:
            UnsupportedError: the network cannot be traced, and neurons are cut or no output layer is named.
        """
        self._structure = self._structure or self._trace()
        return self._structure

    def _trace(self) -> Structure:
        # A group that the outputs do not feel stays whole. Which one that is depends on the weights, so they are drawn
        # alike each time: a study that goes on has to find the same groups.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = self.make_model().eval()
        try:
            return graph.trace(model, self.example)
        except UnsupportedError as error:
            if not self._needs_groups and self.config.skip is not None:
                return Structure(graph.targets(model), (), ())
            raise UnsupportedError(f"{error}; to cut weights only, name the output layer: "
                                   "--granularity weight --skip NAME") from error

    @property
    def outputs(self) -> tuple[str, ...]:
        """The layers that make the outputs."""
        return self.structure.outputs if self.kept_outputs is None else self.kept_outputs

    @property
    def output_notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """That there is none, where that is so."""
        return () if self.outputs else (NONE,)

    def train(self, seed: int, progress: Progress) -> tuple[nn.Module, list[dict[str, Any]], Evaluation]:
        """The network of a seed, trained or with the weights that were given."""
        config, history = self.config, list[dict[str, Any]]()
        torch.manual_seed(seed)
        model = self.make_model().to(config.device)
        with torch_threads(config.threads):
            if config.weights:
                models.load_weights(model, Path(config.weights))
            else:
                history = train(model, self.data, seed, self.epochs, config.batch_size, config.lr,
                                on_step=lambda *_, **__: progress.step(), on_epoch=progress.epoch)
            return model.eval(), history, self.evaluate(model)

    def training_samples(self, count: int) -> tuple[Tensor, Tensor]:
        """The first ``count`` inputs and labels of the training part, in an order that is always the same."""
        x, y = self.data.train_x, self.data.train_y
        if self._in_order:
            return x[:count], y[:count]
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:count]
        return x[order], y[order]

    def calibration(self, count: int) -> Calibration | None:
        """Training samples with their labels."""
        return calibration(self.training_samples(count)) if count and self.labelled_samples else None

    def evaluate(self, model: nn.Module) -> Evaluation:
        """On the test part."""
        return evaluate(model, self.data.test_x, self.data.test_y)

    def closeness(self, original: nn.Module, cut: nn.Module) -> Agreement:
        """On the first test samples."""
        return agreement(original, cut, Calibration(self.data.test_x[:_COMPARED].split(_COMPARED // 4)))

    def batch(self, size: int) -> tuple[Tensor, ...]:
        """The first test samples."""
        return (repeat(self.data.test_x, size),)

    def as_timed(self, model: nn.Module) -> nn.Module:
        """As it is."""
        return model


@final
class UnlabelledTask(Task):
    """Any network with samples without labels.

    Args:
        model: the network; it is not trained.
        samples: those that are shown, and those that outputs are compared on.
        needs_groups: whether neurons are cut, so that the network has to be traced.
    """

    def __init__(self, model: nn.Module, samples: HeldOutSamples, needs_groups: bool):
        self.model, self.samples, self._needs_groups = model, samples, needs_groups
        self.example, self.names = samples.shown.example(), samples.held.names

    @cached_property
    def structure(self) -> Structure:
        """The targets; where neurons are cut the groups, traced with one sample."""
        if not self._needs_groups:
            return Structure(graph.targets(self.model), (), ())
        return graph.trace(self.model, self._example)

    @property
    def _example(self) -> Any:
        """One sample on the network's device."""
        return to_device(self.example, device_of(self.model))

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The layers that make the last axis of an output alone; what is not known of them is a note, no warning."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OutputLayerWarning)
            names, self.output_notes = find_output_layers(self.model, self.structure, self._example)
        return names

    def train(self, seed: int, progress: Progress) -> Trained:
        """The network as it is."""
        return self.model, [], None

    def calibration(self, count: int) -> Calibration | None:
        """Samples that are not held out."""
        return self.samples.shown.first(count) if count else None

    def evaluate(self, model: nn.Module) -> None:
        """There are no labels."""

    def closeness(self, original: nn.Module, cut: nn.Module) -> Agreement:
        """On the samples held out."""
        return agreement(original, cut, self.samples.held)

    def batch(self, size: int) -> tuple[Tensor, ...]:
        """Samples held out of the middling length."""
        batches = sorted(self.samples.held, key=lambda b: max(v.numel() // max(1, len(b)) for v in b.inputs))
        return repeat(batches[len(batches) // 2].inputs, size)

    def as_timed(self, model: nn.Module) -> nn.Module:
        """With inputs by place."""
        return Plain(model, self.names).eval()


def check_network(config: CommonConfig, make_model: Callable[[], nn.Module], data: Dataset, what: str) -> nn.Module:
    """A network that takes the data's samples, with the weights that the settings name; it is not trained.

    Raises:
        SecateurError: what was given is no network, or does not fit the data, the weights or the modules to skip.
    """
    model = make_model()
    if not isinstance(model, nn.Module):
        raise SecateurError(f"model '{what}' returned a {type(model).__name__}; allowed is a torch.nn.Module")
    models.check_fits(model, data.shape, data.classes)
    if config.weights:
        models.load_weights(model, Path(config.weights))
    check_weights(model)
    resolve_skip(model, config.skip or ())
    return model
