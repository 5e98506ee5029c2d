"""The training loop of the recipes: Adam, a learning rate that falls along a cosine, a pruner, a teacher."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from secateur.core.errors import SecateurError
from secateur.core.modules import learning
from secateur.data.calibration import Loss
from secateur.data.datasets.base import Dataset
from secateur.training.batches import Augment, Lessons, given
from secateur.training.pruner import Pruner
from secateur.training.regularization import l1 as l1_term

Start = Callable[[nn.Module, torch.optim.Optimizer], Pruner | None]
OnEpoch = Callable[[int, Pruner | None], Any]


def steps_of(data: Any, epochs: int, batch_size: int = 128) -> int:
    """How many steps of the optimizer so many epochs are: what schedules count in.

    ``data`` is what :func:`fit` takes.
    """
    return epochs * math.ceil(sum(map(len, given(data))) / batch_size)


def fit(model: nn.Module, data: Any, epochs: int, start: Start | None = None, teacher: nn.Module | None = None,
        lr: float = 1e-3, batch_size: int = 128, hold: float = 0.0, l1: float = 0.0, temperature: float = 4.0,
        share: float = 0.9, seed: int = 0, loss: Loss | None = None,
        on_epoch: OnEpoch | None = None, augment: Augment | None = None) -> Pruner | None:
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
    check_settings(epochs, batch_size, lr, hold)
    device = next(model.parameters()).device
    lessons = Lessons.of(given(data, loss), device, teacher, temperature, share, augment)
    total, stop = epochs * math.ceil(len(lessons) / batch_size), Event()

    def run() -> Pruner | None:
        lessons.ask()
        course = Course.begin(model, lessons, lr, hold, total, start, l1)
        return course.run(epochs, shuffled(len(lessons), batch_size, seed, device), stop, on_epoch)

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        pruner = flushing_denormals(run, stop)
    check_finite(model, lr)
    return pruner


def check_settings(epochs: Any, batch_size: Any, lr: float, hold: float) -> None:
    """Refuse what no training can have."""
    for name, value, least in (("epochs", epochs, 0), ("batch_size", batch_size, 1)):
        if not isinstance(value, int) or value < least:
            raise SecateurError(f"{name} {value!r}: allowed is a whole number, {least} or more")
    if not 0 < lr < math.inf:
        raise SecateurError(f"lr {lr!r}: allowed is a number above 0")
    if not 0 <= hold < 1:
        raise SecateurError(f"hold {hold!r}: allowed is a fraction of the training in [0, 1)")


def check_finite(model: nn.Module, lr: float) -> None:
    """Refuse to give back a network of no numbers as if it had learnt."""
    if odd := next((n for n, p in model.named_parameters() if not bool(p.isfinite().all())), None):
        raise SecateurError(f"fit: the training diverged, '{odd}' holds NaN or infinite values: take a smaller lr than "
                            f"{lr:g}")


def shuffled(count: int, batch_size: int, seed: int, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
    """For every epoch, the places of the samples of each step: all of ``count``, in an order that the seed gives."""
    order = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randperm(count, generator=order).to(device).split(batch_size)  # type: ignore[no-untyped-call]


@dataclass
class Course:
    """A training under way: what learns from what, and what is stepped along."""

    model: nn.Module
    lessons: Lessons
    optimizer: torch.optim.Optimizer
    rate: torch.optim.lr_scheduler.LRScheduler
    pruner: Pruner | None
    l1: float

    @classmethod
    def begin(cls, model: nn.Module, lessons: Lessons, lr: float, hold: float, steps: int, start: Start | None,
              l1: float) -> Course:
        """Adam on all parameters, its rate along the cosine over so many steps, and the pruner that ``start`` makes."""
        optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step / max(1, steps), hold))
        return cls(model, lessons, optimizer, rate, start(model, optimizer) if start else None, l1)

    def run(self, epochs: int, batches: Iterator[tuple[Tensor, ...]], stop: Event,
            on_epoch: OnEpoch | None) -> Pruner | None:
        """Go through so many epochs, each the steps that ``batches`` gives, unless ``stop`` is set."""
        with learning(self.model) as train:
            for epoch in range(1, epochs + 1):
                for batch in next(batches):
                    train()
                    self.step(batch)
                    if stop.is_set():
                        return self.pruner
                if on_epoch:
                    on_epoch(epoch, self.pruner)
        return self.pruner

    def step(self, batch: Tensor) -> None:
        """Learn from the samples at some places, and cut."""
        wrong = self.lessons.loss(self.model, batch)
        if self.l1 and self.pruner is not None and rising(self.pruner):
            wrong = wrong + l1_term(self.model, self.l1)
        self.optimizer.zero_grad()
        wrong.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.rate.step()
        if self.pruner is not None:
            self.pruner.step()


def cosine(progress: float, hold: float) -> float:
    """The learning rate as a fraction of its first: 1 until ``hold``, then down to 0 along half a wave.

    >>> [round(cosine(p, 0.5), 3) for p in (0, 0.5, 0.75, 1)]
    [1.0, 1.0, 0.5, 0.0]
    """
    return (1 + math.cos(math.pi * max(0.0, progress - hold) / (1 - hold))) / 2


def rising(pruner: Pruner) -> bool:
    """Whether the sparsity that is asked for is not yet reached for good."""
    return pruner.progress < 1


Record = dict[str, Any]


Result = TypeVar("Result")


def train(model: nn.Module, data: Dataset, seed: int, epochs: int = 5, batch_size: int = 64, lr: float = 1e-3,
          on_step: Callable[..., None] | None = None, on_epoch: Callable[[Record], None] | None = None) -> list[Record]:
    """Train a network in place, on the device of its parameters.

    Same network, data, seed, machine and number of threads: same weights, bit for bit. Whatever the
    network draws at random (dropout) comes from the seed too; torch's global generators stay as they were.

    Args:
        model: gives logits; afterwards it is in the mode (train or eval) in which it was.
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
    _check(epochs, batch_size, lr)
    device, mode, stop = next(model.parameters()).device, model.training, Event()
    course = StudyTraining(model, data.train_x.to(device), data.train_y.to(device), batch_size, lr,
                           torch.Generator().manual_seed(seed), on_step, on_epoch)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        try:
            return flushing_denormals(partial(course.run, epochs, stop), stop)
        finally:
            model.train(mode)


@dataclass
class StudyTraining:
    """What :func:`train` trains, with what, and who hears of it; ``order`` draws the order of the samples."""

    model: nn.Module
    x: Tensor
    y: Tensor
    batch_size: int
    lr: float
    order: torch.Generator
    on_step: Callable[..., None] | None
    on_epoch: Callable[[Record], None] | None

    def run(self, epochs: int, stop: Event) -> list[Record]:
        """Every epoch's record; fewer where ``stop`` was set."""
        optimizer = torch.optim.Adam(self.model.parameters(), lr=self.lr, fused=True)
        history: list[Record] = []
        for epoch in range(1, epochs + 1):
            started = time.perf_counter()
            draw = torch.randperm(len(self.x), generator=self.order).to(self.x.device)
            batches = draw.split(self.batch_size)  # type: ignore[no-untyped-call]
            for figures in one_epoch(self.model.train(), optimizer, self.x, self.y, batches):
                if self.on_step:
                    self.on_step(epoch=epoch, **means(figures))
                if stop.is_set():
                    return history
            history.append({"epoch": epoch, **means(figures), "seconds": time.perf_counter() - started})
            _check_finite(history[-1], self.lr)
            if self.on_epoch:
                self.on_epoch(history[-1])
        return history


def one_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor,
              batches: tuple[Tensor, ...]) -> Iterator[Tensor]:
    """Step once on each batch of indices; gives, after each, the sums so far: loss, right answers, samples."""
    sums = torch.zeros(3, dtype=torch.float64, device=x.device)
    for batch in batches:
        logits = model(x[batch])
        loss = F.cross_entropy(logits, y[batch])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        right = (logits.detach().argmax(1) == y[batch]).double().mean()
        sums += len(batch) * torch.stack([loss.detach().double(), right, torch.ones_like(right)])
        yield sums


def means(sums: Tensor) -> dict[str, float]:
    """Mean loss and accuracy from the sums of :func:`one_epoch`.

    >>> means(torch.tensor([6.0, 2.0, 4.0]))
    {'loss': 1.5, 'accuracy': 0.5}
    """
    loss, right, samples = sums.tolist()
    return {"loss": loss / samples, "accuracy": right / samples}


def flushing_denormals(run: Callable[[], Result], stop: Event) -> Result:
    """What ``run`` gives, with numbers below 1.2e-38 taken as zero; ``stop`` is set when it should end early.

    Adam's averages decay into such numbers for inputs that are rarely lit, and a processor takes many
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


def _check(epochs: int, batch_size: int, lr: float) -> None:
    checks = (("epochs", epochs, epochs >= 0, "whole numbers from 0"),
              ("batch_size", batch_size, batch_size >= 1, "whole numbers from 1"),
              ("lr", lr, 0 < lr < math.inf, "finite numbers above 0"))
    for name, value, fine, allowed in checks:
        if not fine:
            raise SecateurError(f"{name} {value!r}: allowed are {allowed}")


def _check_finite(record: Record, lr: float) -> None:
    if not math.isfinite(record["loss"]):
        raise SecateurError(f"training diverged: loss {record['loss']} in epoch {record['epoch']}; "
                            f"try a step size (lr) below {lr:g}")
