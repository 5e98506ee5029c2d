"""The training loop of the recipes: Adam, a learning rate that falls along a cosine, a pruner, a teacher."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any

import torch
from torch import Tensor, nn

from secateur.calibration import Batch, Calibration, Loss, calibration, joined, joined_labels
from secateur.errors import SecateurError
from secateur.train import flushing_denormals
from secateur.training.distil import distillation
from secateur.training.pruner import Pruner
from secateur.training.regularise import l1 as l1_term
from secateur.windows import call, learning, watched

Start = Callable[[nn.Module, torch.optim.Optimizer], Pruner | None]


def steps_of(data: Any, epochs: int, batch_size: int = 128) -> int:
    """How many steps of the optimizer so many epochs are: what schedules count in.

    ``data`` is what :func:`fit` takes.
    """
    return epochs * math.ceil(sum(map(len, given(data))) / batch_size)


def fit(model: nn.Module, data: Any, epochs: int, start: Start | None = None, teacher: nn.Module | None = None,
        lr: float = 1e-3, batch_size: int = 128, hold: float = 0.0, l1: float = 0.0, temperature: float = 4.0,
        share: float = 0.9, seed: int = 0, loss: Loss | None = None,
        on_epoch: Callable[[int, Pruner | None], Any] | None = None) -> Pruner | None:
    """Train a network in place, pruned on the way; same arguments, same machine: same weights, bit for bit.

    Args:
        model: gives logits.
        data: a pair of tensors (inputs, labels), a data set (its training part), or an iterable of batches, as
            :func:`secateur.calibration.calibration` says. All is held in memory.
        epochs: passes over the data.
        start: makes the pruner from the network and its optimizer; without it the training is a dense one.
        teacher: the dense network, for :func:`~secateur.training.distil.distillation`; without it the loss is
            that of the labels.
        lr: Adam's step size; it stays for the fraction ``hold`` of the training, then falls to 0 along a cosine.
        batch_size: samples a step.
        hold: in [0, 1).
        l1: strength of :func:`~secateur.training.regularise.l1` until the sparsity no longer rises.
        temperature, share: of the distillation; at a share of 1 no labels are needed.
        seed: the order of the samples, and what the network draws, come from it.
        loss: of outputs and labels; by default the cross-entropy.
        on_epoch: called after every epoch with its number, from 1, and the pruner.

    Returns:
        The pruner, if there is one; ``finish()`` of it gives the pruned network.

    Raises:
        SecateurError: ``hold`` out of range, data without labels where they are needed.

    >>> from secateur.data import resolve
    >>> from secateur.schedules import Polynomial
    >>> digits, net = resolve("digits"), nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    >>> end = steps_of(digits, 2)
    >>> pruner = fit(net, digits, 3, lambda model, optimizer: Pruner(model, Polynomial(0.8, end=end), optimizer))
    >>> round(pruner.reached, 3)
    0.8
    """
    if not 0 <= hold < 1:
        raise SecateurError(f"hold {hold!r}: allowed is a fraction of the training in [0, 1)")
    device = next(model.parameters()).device
    lessons = Lessons.of(given(data, loss), device, teacher, temperature, share)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    total, stop = epochs * math.ceil(len(lessons) / batch_size), Event()
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step / max(1, total), hold))
    order = torch.Generator().manual_seed(seed)

    def run(train: Callable[[], None]) -> Pruner | None:
        lessons.ask()
        pruner = start(model, optimizer) if start else None
        for epoch in range(1, epochs + 1):
            for batch in torch.randperm(len(lessons), generator=order).to(device).split(batch_size):  # type: ignore[no-untyped-call]
                train()
                wrong = lessons.loss(model, batch)
                if l1 and pruner is not None and rising(pruner):
                    wrong = wrong + l1_term(model, l1)
                optimizer.zero_grad()
                wrong.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                rate.step()
                if pruner is not None:
                    pruner.step()
                if stop.is_set():
                    return pruner
            if on_epoch:
                on_epoch(epoch, pruner)
        return pruner

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        with learning(model) as train:
            return flushing_denormals(partial(run, train), stop)


@dataclass
class Lessons:
    """What a network learns from: all samples in memory, and a teacher's logits for them where there is one."""

    inputs: tuple[Tensor, ...]
    labels: Tensor | None
    of_labels: Loss
    teacher: nn.Module | None
    temperature: float
    share: float
    told: Tensor | None = None
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, samples: Calibration, device: torch.device, teacher: nn.Module | None, temperature: float,
           share: float) -> Lessons:
        """The lessons that samples give; labels are left out where only the teacher counts."""
        alone = teacher is not None and share == 1
        if not alone and not samples.labelled:
            raise SecateurError("data has no labels; allowed are pairs (inputs, labels), or a teacher with share=1")
        labels = None if alone else joined_labels(samples).to(device)
        inputs = tuple(x.to(device) for x in joined(samples))
        return cls(inputs, labels, samples.loss, teacher, temperature, share, names=samples.names)

    def __len__(self) -> int:
        return len(self.inputs[0])

    def ask(self) -> None:
        """Ask the teacher once for all samples."""
        if self.teacher is not None:
            self.told = torch.cat([logits(self.teacher, Batch(tuple(x[part] for x in self.inputs), None, self.names))
                                   for part in torch.arange(len(self)).split(1000)])  # type: ignore[no-untyped-call]

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        """The loss of a network on the samples at some places."""
        outputs = call(model, Batch(tuple(x[batch] for x in self.inputs), None, self.names))
        if self.told is None:
            return self.of_labels(outputs, self.labels[batch])  # type: ignore[index]
        apart = distillation(outputs.flatten(0, -2), self.told[batch].flatten(0, -2), None, self.temperature)
        if self.labels is None:
            return apart
        return self.share * apart + (1 - self.share) * self.of_labels(outputs, self.labels[batch])


def given(data: Any, loss: Loss | None = None) -> Calibration:
    """The samples that a caller gave as data.

    Raises:
        SecateurError: it is nothing that :func:`secateur.calibration.calibration` takes.
    """
    samples = calibration(data, loss)
    if samples is None:
        raise SecateurError("data is None; allowed are samples to learn from, such as a pair (inputs, labels)")
    return samples


def cosine(progress: float, hold: float) -> float:
    """The learning rate as a fraction of its first: 1 until ``hold``, then down to 0 along half a wave.

    >>> [round(cosine(p, 0.5), 3) for p in (0, 0.5, 0.75, 1)]
    [1.0, 1.0, 0.5, 0.0]
    """
    return (1 + math.cos(math.pi * max(0.0, progress - hold) / (1 - hold))) / 2


def rising(pruner: Pruner) -> bool:
    """Whether the sparsity that is asked for is not yet reached for good."""
    return pruner.progress < 1


@torch.no_grad()
def logits(model: nn.Module, batch: Batch) -> Tensor:
    """The outputs of a network in evaluation mode: ``(n, ..., classes)``; its mode stays as it is."""
    with watched(model, {}):
        found: Tensor = call(model, batch)
    return found
