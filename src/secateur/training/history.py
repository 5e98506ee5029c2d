"""What a training did, epoch by epoch: loss, accuracy, seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from secateur.core.errors import SecateurError

Record = dict[str, Any]


@dataclass
class History:
    """One record an epoch, from figures added step by step.

    Attributes:
        labels: of all samples, ``(n,)``.
        lr: the step size, for the message of a training that diverges.
        on_step: called after each step with ``epoch=``, ``loss=`` and ``accuracy=``, means over the epoch so far.
        on_epoch: called after each epoch with its record.
        records: those of the epochs so far.
    """

    labels: Tensor
    lr: float
    on_step: Callable[..., None] | None = None
    on_epoch: Callable[[Record], None] | None = None
    records: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        # loss, right answers, samples; in float64 on the network's device, so that no step waits for the device
        self._sums = torch.zeros(3, dtype=torch.float64, device=self.labels.device)
        self._started = time.perf_counter()

    def add_step(self, places: Tensor, outputs: Tensor, loss: Tensor) -> None:
        """Count the samples at some places, with their logits ``(n, classes)`` and their mean loss."""
        right = (outputs.detach().argmax(1) == self.labels[places]).double().mean()
        self._sums += len(places) * torch.stack([loss.detach().double(), right, torch.ones_like(right)])
        if self.on_step:
            self.on_step(epoch=len(self.records) + 1, **self._means())

    def end_epoch(self, epoch: int, *_: Any) -> None:
        """Close the record of an epoch.

        Raises:
            SecateurError: the loss is no longer finite.
        """
        record = {"epoch": epoch, **self._means(), "seconds": time.perf_counter() - self._started}
        if not math.isfinite(record["loss"]):
            raise SecateurError(f"training diverged: loss {record['loss']} in epoch {epoch}; try a step size (lr) "
                                f"below {self.lr:g}")
        self.records.append(record)
        if self.on_epoch:
            self.on_epoch(record)
        self._begin_epoch()

    def _means(self) -> dict[str, float]:
        loss, right, samples = self._sums.tolist()
        return {"loss": loss / samples, "accuracy": right / samples}
