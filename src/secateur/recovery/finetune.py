"""Finetune: train the cut network on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from secateur.calibration import Batch, Calibration, joined
from secateur.errors import SecateurError
from secateur.recovery.base import Patient, Recovery


@dataclass(frozen=True)
class Finetune(Recovery):
    """Train what the cut left, with Adam and a step size that falls to zero along a cosine; zeros stay zeros.

    Attributes:
        epochs: passes over the samples.
        steps: at most so many steps, where above zero.
        lr: the first step size.
        batch_size: samples a step, reshuffled in each epoch from the seed.
        distil: the part of the loss, in [0, 1], that is the divergence from the original network's outputs at
            ``temperature`` (Hinton et al., 2015); at 1 no labels are needed.
        patience: where above zero, an eighth of the samples is held out, and training ends when so many epochs
            brought no smaller loss on it; the best epoch's weights are kept.

    >>> Finetune(distil=1.0).needs
    frozenset({'data'})
    """

    epochs: int = 5
    steps: int = 0
    lr: float = 1e-3
    batch_size: int = 64
    distil: float = 0.0
    temperature: float = 2.0
    patience: int = 0

    def __post_init__(self) -> None:
        for name, fine in (("epochs", self.epochs >= 0), ("steps", self.steps >= 0), ("lr", self.lr > 0),
                           ("batch_size", self.batch_size >= 1), ("distil", 0 <= self.distil <= 1),
                           ("temperature", self.temperature > 0), ("patience", self.patience >= 0)):
            if not fine:
                raise SecateurError(f"finetune {name} {getattr(self, name)!r}: allowed are epochs, steps and patience "
                                    "from 0, batch_size from 1, lr and temperature above 0, distil in [0, 1]")

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """Data, and labels unless all of the loss is distilled."""
        return frozenset({"data"}) if self.distil == 1 else frozenset({"data", "labels"})

    def recover(self, patient: Patient) -> nn.Module:
        """The cut network after training."""
        assert patient.samples is not None
        return trained(patient, self)


def trained(patient: Patient, how: Finetune) -> nn.Module:
    """The training loop over all samples held in memory."""
    model, samples = patient.pruned, patient.samples
    assert samples is not None
    inputs, labels = joined(samples), targets(samples, how)
    draw = torch.Generator().manual_seed(patient.seed)
    order = torch.randperm(len(inputs[0]), generator=draw)
    held, learned = order[:len(order) // 8 if how.patience else 0], order[len(order) // 8 if how.patience else 0:]
    zeros = {p: p == 0 for c in patient.plan.cuts if c.group is None for p in [model.get_parameter(c.name)]}
    optimizer = torch.optim.Adam(model.parameters(), lr=how.lr)
    total = how.epochs * -(-len(learned) // how.batch_size)
    total = min(total, how.steps) if how.steps else total
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(total, 1))
    best, stale, mode, done = (torch.inf, model.state_dict()), 0, model.training, 0
    teacher = patient.original.eval() if how.distil else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(patient.seed)
        for _ in range(how.epochs):
            model.train()
            for batch in batches(inputs, labels, learned[torch.randperm(len(learned), generator=draw)], how):
                if done == total:
                    break
                optimizer.zero_grad()
                loss_of(model, teacher, batch, how, samples).backward()
                optimizer.step()
                schedule.step()
                keep_zero(zeros)
                done += 1
            if how.patience:
                loss = held_loss(model, teacher, batches(inputs, labels, held, how), how, samples)
                stale = 0 if loss < best[0] else stale + 1
                best = (loss, copy.deepcopy(model.state_dict())) if loss < best[0] else best
                if stale == how.patience:
                    break
    if how.patience:
        model.load_state_dict(best[1])
    return model.train(mode)


def targets(samples: Calibration, how: Finetune) -> Tensor | None:
    """All labels as one tensor, where the loss reads them."""
    return None if how.distil == 1 else torch.cat([batch.labels for batch in samples])


def batches(inputs: tuple[Tensor, ...], labels: Tensor | None, order: Tensor, how: Finetune) -> Iterator[Batch]:
    """The samples in an order, a step's at a time."""
    for part in order.split(how.batch_size):
        yield Batch(tuple(x[part] for x in inputs), None if labels is None else labels[part])


def loss_of(model: nn.Module, teacher: nn.Module | None, batch: Batch, how: Finetune, samples: Calibration) -> Tensor:
    """The loss of one batch: that of the labels, that of the teacher, or a mixture."""
    batch = batch.to(next(model.parameters()).device)
    outputs, total = model(*batch.inputs), torch.zeros(())
    if how.distil < 1:
        total = total + (1 - how.distil) * samples.loss(outputs, batch.labels)
    if teacher is not None:
        with torch.no_grad():
            wanted = (teacher(*batch.inputs) / how.temperature).log_softmax(-1)
        given = (outputs / how.temperature).log_softmax(-1)
        apart = F.kl_div(given, wanted, reduction="batchmean", log_target=True)
        total = total + how.distil * how.temperature**2 * apart
    return total


def held_loss(model: nn.Module, teacher: nn.Module | None, held: Iterator[Batch], how: Finetune,
              samples: Calibration) -> float:
    """The mean loss of the samples held out."""
    model.eval()
    with torch.no_grad():
        parts = [(float(loss_of(model, teacher, b, how, samples)) * len(b), len(b)) for b in held]
    return sum(loss for loss, _ in parts) / max(sum(n for _, n in parts), 1)


def keep_zero(zeros: dict[nn.Parameter, Tensor]) -> None:
    """Put back the zeros of the mask, which momentum would fill."""
    with torch.no_grad():
        for parameter, mask in zeros.items():
            parameter.masked_fill_(mask, 0)


