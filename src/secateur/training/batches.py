"""What a network learns from: samples, moved anew at every step where that is asked for, and a teacher's answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.errors import SecateurError
from secateur.data.calibration import Batch, Calibration, Loss, Samples, calibration, joined, joined_labels
from secateur.data.forward import call, watched
from secateur.training.distillation import distillation

Augment = Callable[..., Any]


@dataclass
class Lessons:
    """All samples in memory, what is done to their inputs, and the teacher where there is one."""

    inputs: tuple[Tensor, ...]
    labels: Tensor | None
    of_labels: Loss
    teacher: nn.Module | None
    temperature: float
    share: float
    augment: Augment | None = None
    told: Tensor | None = None
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, samples: Calibration, device: torch.device, teacher: nn.Module | None, temperature: float,
           share: float, augment: Augment | None = None) -> Lessons:
        """The lessons that samples give; labels are left out where only the teacher counts."""
        alone = teacher is not None and share == 1
        if not alone and not samples.labelled:
            raise SecateurError("data has no labels; allowed are pairs (inputs, labels), or a teacher with share=1")
        labels = None if alone else joined_labels(samples).to(device)
        inputs = tuple(x.to(device) for x in joined(samples))
        return cls(inputs, labels, samples.loss, teacher, temperature, share, augment, names=samples.names)

    def __len__(self) -> int:
        return len(self.inputs[0])

    def ask(self) -> None:
        """Ask the teacher once for all samples, where they stay as they are."""
        if self.teacher is not None and self.augment is None:
            self.told = torch.cat([logits(self.teacher, self.batch(tuple(x[part] for x in self.inputs)))
                                   for part in torch.arange(len(self)).split(1000)])  # type: ignore[no-untyped-call]

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        """The loss of a network on the samples at some places."""
        seen = self.batch(self.at(batch))
        outputs = call(model, seen)
        if self.teacher is None:
            return self.of_labels(outputs, self.labels[batch])  # type: ignore[index]
        told = logits(self.teacher, seen) if self.told is None else self.told[batch]
        apart = distillation(outputs.flatten(0, -2), told.flatten(0, -2), None, self.temperature)
        if self.labels is None:
            return apart
        return self.share * apart + (1 - self.share) * self.of_labels(outputs, self.labels[batch])

    def batch(self, inputs: tuple[Tensor, ...]) -> Batch:
        """Inputs as the arguments of one call."""
        return Batch(inputs, None, self.names)

    def at(self, batch: Tensor) -> tuple[Tensor, ...]:
        """The inputs at some places, as the network is to see them at this step.

        Raises:
            SecateurError: ``augment`` gives other than tensors of as many samples, one for each input.
        """
        inputs = tuple(x[batch] for x in self.inputs)
        if self.augment is None:
            return inputs
        found = self.augment(*inputs)
        made: tuple[Tensor, ...] = found if isinstance(found, tuple) else (found,)
        if len(made) != len(inputs) or not all(isinstance(x, Tensor) and len(x) == len(batch) for x in made):
            raise SecateurError(f"augment gave {Batch(made)} for {Batch(inputs)}: allowed are tensors of as many "
                                "samples, one for each input")
        return made


def given(data: Any, loss: Loss | None = None) -> Calibration:
    """The samples that a caller gave as data.

    Raises:
        SecateurError: it is nothing that :func:`secateur.data.calibration.calibration` takes.
    """
    samples = calibration(data if loss is None else Samples(data, loss=loss))
    if samples is None:
        raise SecateurError("data is None; allowed are samples to learn from, such as a pair (inputs, labels)")
    return samples


@torch.no_grad()
def logits(model: nn.Module, batch: Batch) -> Tensor:
    """The outputs of a network in evaluation mode: ``(n, ..., classes)``; its mode stays as it is."""
    with watched(model, {}):
        found: Tensor = call(model, batch)
    return found
