"""Finetune: train the cut network on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from secateur.core.errors import SecateurError
from secateur.core.modules import learning
from secateur.data.calibration import Batch, Calibration, joined, joined_labels
from secateur.data.forward import call, watched
from secateur.recovery.methods.base import Patient, Recovery
from secateur.recovery.settings import above, between, check, check_learns, whole
from secateur.training.loop import flushing_denormals

HELD_OUT = 8


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
        check("finetune", self, {
            **{name: whole(getattr(self, name), 0) for name in ("epochs", "steps", "patience")},
            "batch_size": whole(self.batch_size, 1), "distil": between(self.distil, 0, 1),
            **{name: above(getattr(self, name), 0) for name in ("lr", "temperature")}},
            "whole epochs, steps and patience from 0 and batch_size from 1, finite lr and temperature above 0, "
            "distil in [0, 1]")

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """Data, and labels unless all of the loss is distilled."""
        return frozenset({"data"}) if self.distil == 1 else frozenset({"data", "labels"})

    def recover(self, patient: Patient) -> nn.Module:
        """The cut network after training."""
        assert patient.samples is not None
        check_learns("finetune", patient.pruned)
        training = Training(patient, self, patient.samples)
        with learning(patient.pruned):
            flushing_denormals(training.run, Event())
        return patient.pruned


class Training:
    """One training of a cut network; all samples are held in memory.

    Args:
        patient: the networks, the plan and the seed.
        how: the settings.
        samples: what it learns from.
    """

    def __init__(self, patient: Patient, how: Finetune, samples: Calibration):
        self.model, self.how, self.loss, self.seed = patient.pruned, how, samples.loss, patient.seed
        self.inputs, self.names = joined(samples), samples.names
        self.labels = None if how.distil == 1 else joined_labels(samples)
        self.teacher = copy.deepcopy(patient.original).eval() if how.distil else None
        self.draw = torch.Generator().manual_seed(patient.seed)
        order = torch.randperm(len(self.inputs[0]), generator=self.draw)
        if how.patience and len(order) < HELD_OUT:
            raise SecateurError(f"finetune patience {how.patience} holds out an eighth of the samples, got "
                                f"{len(order)}: allowed are {HELD_OUT} samples or more, or patience 0")
        held = len(order) // HELD_OUT if how.patience else 0
        self.held, self.learned = order[:held], order[held:]
        self.zeros = {p: p == 0 for c in patient.plan.cuts if c.group is None
                      for p in [self.model.get_parameter(c.name)]}

    def run(self) -> None:
        """Every epoch, until one in ``patience`` brought nothing; the best one's weights where that is asked."""
        total = self.how.epochs * -(-len(self.learned) // self.how.batch_size)
        self.left = min(total, self.how.steps) if self.how.steps else total
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=self.how.lr)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, max(self.left, 1))
        best, least, stale = None, float("inf"), 0
        device = next(self.model.parameters()).device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            for _ in range(self.how.epochs):
                self.epoch()
                if self.how.patience and (loss := self.held_loss()) < least:
                    best, least, stale = copy.deepcopy(self.model.state_dict()), loss, 0
                elif self.how.patience:
                    stale += 1
                if stale and stale == self.how.patience:
                    break
        if best is not None:
            self.model.load_state_dict(best)

    def epoch(self) -> None:
        """One pass over the samples, as far as there are steps left."""
        order = self.learned[torch.randperm(len(self.learned), generator=self.draw)]
        for batch in self.batches(order):
            if not self.left:
                return
            self.left -= 1
            self.optimizer.zero_grad()
            self.loss_of(batch).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.schedule.step()
            with torch.no_grad():
                for parameter, mask in self.zeros.items():
                    parameter.masked_fill_(mask, 0)

    def batches(self, order: Tensor) -> Iterator[Batch]:
        """The samples in an order, a step's at a time."""
        for part in order.split(self.how.batch_size):
            yield Batch(tuple(x[part] for x in self.inputs), None if self.labels is None else self.labels[part],
                        self.names)

    def loss_of(self, batch: Batch) -> Tensor:
        """The loss of one batch: that of the labels, that of the teacher, or a mixture."""
        batch, share = batch.to(next(self.model.parameters()).device), self.how.distil
        outputs, total = call(self.model, batch), torch.zeros(())
        if share < 1:
            total = total + (1 - share) * self.loss(outputs, batch.labels)
        if self.teacher is not None:
            with torch.no_grad():
                wanted = (call(self.teacher, batch) / self.how.temperature).log_softmax(-1)
            given = (outputs / self.how.temperature).log_softmax(-1)
            apart = F.kl_div(given, wanted, reduction="batchmean", log_target=True)
            total = total + share * self.how.temperature**2 * apart
        return total

    def held_loss(self) -> float:
        """The mean loss of the samples held out."""
        with watched(self.model, {}), torch.no_grad():
            parts = [(float(self.loss_of(batch)) * len(batch), len(batch)) for batch in self.batches(self.held)]
        return sum(loss for loss, _ in parts) / max(sum(count for _, count in parts), 1)
