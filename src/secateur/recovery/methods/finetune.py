"""Finetune: continue to train the cut network."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from secateur.core.bounds import above, between, check_settings, whole
from secateur.core.errors import SecateurError
from secateur.recovery.checks import check_learns
from secateur.recovery.methods.base import Recovery, RecoveryContext
from secateur.training import masks
from secateur.training.batches import TrainingBatches
from secateur.training.early_stop import EarlyStop
from secateur.training.loop import Training

_HELD_OUT = 8
"""One sample in so many is held out where there is patience."""


@dataclass(frozen=True)
class Finetune(Recovery):
    """Train the cut network with Adam and a step size that falls to zero along a cosine; removed weights stay zero.

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
        check_settings("finetune", vars(self), epochs=whole(0), steps=whole(0), patience=whole(0), batch_size=whole(1),
                       distil=between(0, 1), lr=above(0), temperature=above(0))

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """Data, and labels unless all of the loss is distilled."""
        return frozenset({"data"}) if self.distil == 1 else frozenset({"data", "labels"})

    def recover(self, context: RecoveryContext) -> nn.Module:
        """The cut network after training."""
        model = context.pruned
        check_learns("finetune", model)
        # a copy, because a network may write to itself when it is called
        teacher = copy.deepcopy(context.original) if self.distil else None
        batches = TrainingBatches.of(context.data, teacher, self.temperature, self.distil)
        generator = torch.Generator().manual_seed(context.seed)
        order = torch.randperm(len(batches), generator=generator)
        if self.patience and len(order) < _HELD_OUT:
            raise SecateurError(f"finetune patience {self.patience} holds out an eighth of the samples and needs at "
                                f"least {_HELD_OUT}, got {len(order)}; pass more, or patience 0")
        held = len(order) // _HELD_OUT if self.patience else 0
        zeros = {name: model.get_parameter(name) == 0 for name in context.masks}
        # not fused, because the fused Adam refuses networks that hold whole numbers as parameters
        training = Training(model=model, batches=batches, epochs=self.epochs, batch_size=self.batch_size, lr=self.lr,
                            seed=context.seed, order=generator, places=order[held:], most_steps=self.steps, fused=False,
                            on_step=lambda *_: masks.zero(model, zeros))
        early_stop = EarlyStop(training, order[:held], self.patience)
        if self.patience:
            training.on_epoch = early_stop.end_epoch
        training.run()
        early_stop.restore_best()
        return model
