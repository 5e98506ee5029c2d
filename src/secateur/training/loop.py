"""The training loop of the recipes: Adam, a learning rate that falls along a cosine, a pruner, a teacher."""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import Event
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from secateur.data.base import Dataset
from secateur.errors import SecateurError
from secateur.train import flushing_denormals
from secateur.training.distil import distillation
from secateur.training.pruner import Pruner
from secateur.training.regularise import l1 as l1_term

Start = Callable[[nn.Module, torch.optim.Optimizer], Pruner | None]


def steps_of(data: Dataset, epochs: int, batch_size: int = 128) -> int:
    """How many steps of the optimizer so many epochs are: what schedules count in."""
    return epochs * math.ceil(len(data.train_x) / batch_size)


def fit(model: nn.Module, data: Dataset, epochs: int, start: Start | None = None, teacher: nn.Module | None = None,
        lr: float = 1e-3, batch_size: int = 128, hold: float = 0.0, l1: float = 0.0, temperature: float = 4.0,
        share: float = 0.9, seed: int = 0,
        on_epoch: Callable[[int, Pruner | None], Any] | None = None) -> Pruner | None:
    """Train a network in place, pruned on the way; same arguments, same machine: same weights, bit for bit.

    Args:
        model: gives logits.
        data: its training part is used.
        epochs: passes over the data.
        start: makes the pruner from the network and its optimizer; without it the training is a dense one.
        teacher: the dense network, for :func:`~secateur.training.distil.distillation`; without it the loss is
            the cross-entropy.
        lr: Adam's step size; it stays for the fraction ``hold`` of the training, then falls to 0 along a cosine.
        batch_size: samples a step.
        hold: in [0, 1).
        l1: strength of :func:`~secateur.training.regularise.l1` until the sparsity no longer rises.
        temperature, share: of the distillation.
        seed: the order of the samples, and what the network draws, come from it.
        on_epoch: called after every epoch with its number, from 1, and the pruner.

    Returns:
        The pruner, if there is one; ``finish()`` of it gives the pruned network.

    Raises:
        SecateurError: ``hold`` out of range.

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
    x, y = data.train_x.to(device), data.train_y.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    total, mode, stop = steps_of(data, epochs, batch_size), model.training, Event()
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step / max(1, total), hold))
    order = torch.Generator().manual_seed(seed)

    def run() -> Pruner | None:
        told = logits(teacher, x) if teacher is not None else None
        pruner = start(model, optimizer) if start else None
        for epoch in range(1, epochs + 1):
            for batch in torch.randperm(len(x), generator=order).to(device).split(batch_size):  # type: ignore[no-untyped-call]
                outputs = model.train()(x[batch])
                loss = (F.cross_entropy(outputs, y[batch]) if told is None else
                        distillation(outputs, told[batch], y[batch], temperature, share))
                if l1 and pruner is not None and rising(pruner):
                    loss = loss + l1_term(model, l1)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
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
        try:
            return flushing_denormals(run, stop)
        finally:
            model.train(mode)


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
def logits(model: nn.Module, x: Tensor) -> Tensor:
    """The outputs of a network in evaluation mode, a thousand samples at a time: ``(n, classes)``."""
    mode = model.training
    found = torch.cat([model.eval()(part) for part in x.split(1000)])
    model.train(mode)
    return found
