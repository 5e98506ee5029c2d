"""Ends a training that no longer helps on samples held out."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from secateur.data.forward import watch
from secateur.training.loop import Training


@dataclass
class EarlyStop:
    """Stops the training after ``patience`` epochs in a row without a smaller loss on held-out samples.

    Attributes:
        training: its ``on_epoch`` is to be :meth:`end_epoch`.
        held: the places of the samples held out.
        patience: epochs, from 1.
    """

    training: Training
    held: Tensor
    patience: int

    def __post_init__(self) -> None:
        self._least, self._stale = math.inf, 0
        self._best: dict[str, Any] | None = None

    def end_epoch(self, *_: Any) -> None:
        """Measure, remember the best weights, and stop where nothing was gained for too long."""
        if (loss := self.held_loss()) < self._least:
            self._best, self._least, self._stale = copy.deepcopy(self.training.model.state_dict()), loss, 0
        else:
            self._stale += 1
        if self._stale == self.patience:
            self.training.stop.set()

    def held_loss(self) -> float:
        """The mean loss of the samples held out, in evaluation mode."""
        model, batches, total = self.training.model, self.training.batches, 0.0
        with watch(model, {}), torch.no_grad():
            for places in self.held.split(self.training.batch_size):  # type: ignore[no-untyped-call]
                total += float(batches.loss(model, places)[0]) * len(places)
        return total / max(len(self.held), 1)

    def restore_best(self) -> None:
        """Give the network the weights of the best epoch; those that it has where none was measured."""
        if self._best is not None:
            self.training.model.load_state_dict(self._best)
