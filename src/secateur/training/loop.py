"""The training loop of studies, recipes and recoveries: Adam, a learning rate, a pruner, a teacher."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from secateur.core.bounds import above, between, check_settings, whole
from secateur.core.errors import SecateurError
from secateur.core.modules import device_of, learning
from secateur.data.calibration import Loss
from secateur.data.datasets.base import Dataset
from secateur.training.batches import Augment, TrainingBatches, require_samples
from secateur.training.history import History, Record
from secateur.training.pruner import Pruner
from secateur.training.regularization import l1 as l1_term

Start = Callable[[nn.Module, torch.optim.Optimizer], Pruner | None]
_OnEpoch = Callable[[int, Pruner | None], Any]
_OnStep = Callable[[Tensor, Any, Tensor], Any]
_Result = TypeVar("_Result")


@dataclass(kw_only=True)
class Training:
    """One training of a network, in place, on the device of its parameters.

    Same network, samples, settings, machine and number of threads: same weights, bit for bit. Whatever the network or
    ``batches`` draw at random comes from the seed; torch's global generators stay as they were.

    Attributes:
        model: what learns.
        batches: what it learns from.
        epochs: passes over the samples.
        batch_size: samples a step; the last step of an epoch may have fewer.
        lr, hold: Adam's step size; it stays for the fraction ``hold`` of the training, in [0, 1], then falls to 0 along
            a cosine.
        seed: the order of the samples, and all that is drawn at random, come from it.
        order: draws the order of the samples in place of the seed, for a caller that has drawn from it before.
        places: which samples are learned from; by default all.
        most_steps: at most so many steps, where above zero.
        fused: whether Adam is one kernel, which is faster and rounds differently.
        start: makes the pruner from the network and its optimizer.
        l1: strength of :func:`~secateur.training.regularization.l1` until the sparsity no longer rises.
        on_step: called after every step with the places of its samples, their outputs and their loss.
        on_epoch: called after every epoch with its number, from 1, and the pruner.
        stop: ends the training after the present step, or epoch, where it is set.
        pruner: what ``start`` made.

    Raises:
        SecateurError: epochs, batch_size, lr or hold out of range.
    """

    model: nn.Module
    batches: TrainingBatches
    epochs: int
    batch_size: int
    lr: float
    hold: float = 0.0
    seed: int = 0
    order: torch.Generator | None = None
    places: Tensor | None = None
    most_steps: int = 0
    fused: bool = True
    start: Start | None = None
    l1: float = 0.0
    on_step: _OnStep | None = None
    on_epoch: _OnEpoch | None = None
    stop: Event = field(default_factory=Event)
    pruner: Pruner | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        check_settings("", vars(self), epochs=whole(0), batch_size=whole(1), lr=above(0), hold=between(0, 1))
        self.order = self.order or torch.Generator().manual_seed(self.seed)

    def run(self) -> Pruner | None:
        """Train; gives the pruner, where there is one."""
        device = device_of(self.model)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            run_without_denormals(self._run, self.stop)
        return self.pruner

    def _run(self) -> None:
        places = torch.arange(len(self.batches)) if self.places is None else self.places
        steps = self.epochs * math.ceil(len(places) / self.batch_size)
        steps = left = min(steps, self.most_steps) if self.most_steps else steps
        optimizer = torch.optim.Adam(self.model.parameters(), lr=self.lr, fused=self.fused)
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step / max(1, steps), self.hold))
        self.pruner = self.start(self.model, optimizer) if self.start else None
        with learning(self.model) as train:
            for epoch in range(1, self.epochs + 1):
                batches = self._shuffle(places)[:left]
                for batch in batches:
                    train()
                    self._step(batch, optimizer)
                    rate.step()
                    if self.stop.is_set():
                        return
                left -= len(batches)
                if self.on_epoch:
                    self.on_epoch(epoch, self.pruner)
                if self.stop.is_set() or not left:
                    return

    def _shuffle(self, places: Tensor) -> tuple[Tensor, ...]:
        """The places of the samples of each step of an epoch."""
        order = places[torch.randperm(len(places), generator=self.order)].to(self.batches.inputs[0].device)
        return order.split(self.batch_size)  # type: ignore[no-any-return,no-untyped-call]

    def _step(self, places: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Learn from the samples at some places, and cut."""
        loss, outputs = self.batches.loss(self.model, places)
        total = loss
        if self.l1 and self.pruner is not None and self.pruner.progress < 1:
            total = loss + l1_term(self.model, self.l1)
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if self.pruner is not None:
            self.pruner.step()
        if self.on_step:
            self.on_step(places, outputs, loss)


def cosine(progress: float, hold: float) -> float:
    """The learning rate as a fraction of its first: 1 until ``hold``, then down to 0 along half a wave.

    >>> [round(cosine(p, 0.5), 3) for p in (0, 0.5, 0.75, 1)]
    [1.0, 1.0, 0.5, 0.0]
    """
    return 1.0 if progress <= hold else (1 + math.cos(math.pi * (progress - hold) / (1 - hold))) / 2


def run_without_denormals(run: Callable[[], _Result], stop: Event) -> _Result:
    """What ``run`` gives, with numbers below 1.2e-38 taken as zero; ``stop`` is set when it should end early.

    Adam's averages decay into such numbers for inputs that are rarely above zero, and a processor takes many
    times longer for each: the MLP on MNIST trains twice as fast without them. A processor's flag is
    inherited by the threads that torch starts for a new thread, hence the thread of its own; the
    caller's stays as it is.
    """
    with ThreadPoolExecutor(1, initializer=torch.set_flush_denormal, initargs=(True,)) as own_thread:
        try:
            return own_thread.submit(run).result()
        except BaseException:
            stop.set()
            raise


def steps_of(data: Any, epochs: int, batch_size: int = 128) -> int:
    """How many steps of the optimizer so many epochs are: what schedules count in.

    ``data`` is what :func:`fit` takes.
    """
    return epochs * math.ceil(sum(map(len, require_samples(data))) / batch_size)


def fit(model: nn.Module, data: Any, epochs: int, start: Start | None = None, *, teacher: nn.Module | None = None,
        lr: float = 1e-3, batch_size: int = 128, hold: float = 0.0, l1: float = 0.0, temperature: float = 4.0,
        share: float = 0.9, seed: int = 0, loss: Loss | None = None,
        on_epoch: _OnEpoch | None = None, augment: Augment | None = None) -> Pruner | None:
    """Train a network in place, pruned on the way; same arguments, same machine: same weights, bit for bit.

    Args:
        model: gives logits.
        data: a pair of tensors (inputs, labels), a data set (its training part), or an iterable of batches, as
            :func:`secateur.data.calibration.calibration` says. All is held in memory.
        epochs: passes over the data.
        start: makes the pruner from the network and its optimizer; without it the training is a dense one.
        teacher: the dense network, for :func:`~secateur.training.distillation.distillation`; without it the loss is
            that of the labels.
        lr, hold: Adam's step size; it stays for the fraction ``hold`` of the training, in [0, 1), then falls to 0
            along a cosine.
        batch_size: samples a step.
        l1: strength of :func:`~secateur.training.regularization.l1` until the sparsity no longer rises.
        temperature, share: of the distillation; at a share of 1 no labels are needed.
        seed: the order of the samples, and what the network and ``augment`` draw, come from it.
        loss: of outputs and labels; by default the cross-entropy.
        on_epoch: called after every epoch with its number, from 1, and the pruner.
        augment: gets the inputs of every batch and gives as many back, moved or with noise, drawn from torch's
            global generator; the teacher is then asked at every step about what the network sees.

    Returns:
        The pruner, if there is one; ``finish()`` of it gives the pruned network.

    Raises:
        SecateurError: a setting out of range, no labels where they are needed, an ``augment`` that gives other counts,
            or a training that diverged.

    >>> from secateur.data import resolve
    >>> from secateur.training.schedules import Polynomial
    >>> digits, net = resolve("digits"), nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    >>> end = steps_of(digits, 2)
    >>> pruner = fit(net, digits, 3, lambda model, optimizer: Pruner(model, Polynomial(0.8, end=end), optimizer))
    >>> round(pruner.reached, 3)
    0.8
    """
    batches = TrainingBatches.of(require_samples(data, loss), teacher, temperature, share, augment)
    batches.to(device_of(model))

    def begin(network: nn.Module, optimizer: torch.optim.Optimizer) -> Pruner | None:
        batches.ask_teacher()
        return start(network, optimizer) if start else None

    training = Training(model=model, batches=batches, epochs=epochs, batch_size=batch_size, lr=lr, hold=hold, seed=seed,
                        start=begin, l1=l1, on_epoch=on_epoch)
    check_settings("", vars(training), hold=between(0, 1, with_high=False))
    pruner = training.run()
    check_finite(model, "fit: the training diverged, it", f"use a smaller lr than {lr:g}")
    return pruner


def train(model: nn.Module, data: Dataset, seed: int, epochs: int = 5, batch_size: int = 64, lr: float = 1e-3,
          on_step: Callable[..., None] | None = None, on_epoch: Callable[[Record], None] | None = None) -> list[Record]:
    """Train a dense network in place, as studies do: Adam at one step size, and a record of every epoch.

    Args:
        model: gives logits; every module is in the mode (train or eval) in which it was, afterwards.
        data: its training part is used.
        seed: the order of the samples and the draws of the network come from it.
        epochs: passes over the data.
        batch_size: samples a step; the last step of an epoch may have fewer.
        lr: Adam's step size.
        on_step: called after each step with ``epoch=``, ``loss=`` and ``accuracy=``, means over the epoch so far.
        on_epoch: called after each epoch with its record.

    Returns:
        One record an epoch: ``epoch`` (from 1), ``loss`` and ``accuracy`` (means over its samples, while the
        network learns), ``seconds``.

    Raises:
        SecateurError: epochs, batch_size or lr out of range; the loss is no longer finite.

    >>> from secateur.data import resolve
    >>> history = train(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), resolve("digits"), seed=0, epochs=3)
    >>> [r["epoch"] for r in history], history[2]["loss"] < history[0]["loss"]
    ([1, 2, 3], True)
    """
    batches = TrainingBatches((data.train_x,), data.train_y, F.cross_entropy)
    batches.to(device_of(model))
    history = History(data.train_y.to(device_of(model)), lr, on_step, on_epoch)
    Training(model=model, batches=batches, epochs=epochs, batch_size=batch_size, lr=lr, hold=1.0, seed=seed,
             on_step=history.add_step, on_epoch=history.end_epoch).run()
    return history.records


def check_finite(model: nn.Module, what: str, hint: str) -> None:
    """Refuse to give out a network of no numbers as if it had learnt, naming the tensor.

    Raises:
        SecateurError: a parameter holds NaN or infinite values.
    """
    for name, parameter in model.named_parameters():
        if wrong := int((~torch.isfinite(parameter)).sum()):
            raise SecateurError(f"{what} left {wrong} NaN or infinite values of {parameter.numel()} in '{name}': "
                                f"{hint}")
