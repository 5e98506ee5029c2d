"""The training loop of the built-in studies: Adam, cross-entropy, reshuffled each epoch."""

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

from secateur.data.base import Dataset
from secateur.errors import SecateurError

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
    course = Course(model, data.train_x.to(device), data.train_y.to(device), batch_size, lr,
                    torch.Generator().manual_seed(seed), on_step, on_epoch)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        try:
            return flushing_denormals(partial(course.run, epochs, stop), stop)
        finally:
            model.train(mode)


@dataclass
class Course:
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
