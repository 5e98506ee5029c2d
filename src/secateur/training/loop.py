"""The training loop of the recipes: Adam, a learning rate that falls along a cosine, a pruner, a teacher."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event
from typing import Any

import torch
from torch import Tensor, nn

from secateur.calibration import Loss
from secateur.errors import SecateurError
from secateur.train import flushing_denormals
from secateur.training.lessons import Augment, Lessons, given
from secateur.training.pruner import Pruner
from secateur.training.regularise import l1 as l1_term
from secateur.windows import learning

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
            :func:`secateur.calibration.calibration` says. All is held in memory.
        epochs: passes over the data.
        start: makes the pruner from the network and its optimizer; without it the training is a dense one.
        teacher: the dense network, for :func:`~secateur.training.distil.distillation`; without it the loss is
            that of the labels.
        lr, hold: Adam's step size; it stays for the fraction ``hold`` of the training, in [0, 1), then falls to 0
            along a cosine.
        batch_size: samples a step.
        l1: strength of :func:`~secateur.training.regularise.l1` until the sparsity no longer rises.
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
    >>> from secateur.schedules import Polynomial
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
