"""What a network learns from: samples, moved anew at every step where that is asked for, and a teacher's outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.errors import SecateurError, failing
from secateur.core.modules import device_of
from secateur.data.batch import Batch
from secateur.data.calibration import Calibration, Loss, Samples, calibration, join, joined_labels
from secateur.data.forward import call, watch
from secateur.training.distillation import distillation

Augment = Callable[..., Any]


@dataclass
class TrainingBatches:
    """All samples in memory, what is done to their inputs, and the teacher where there is one.

    ``share`` and ``temperature`` are those of :func:`~secateur.training.distillation.distillation`; ``answers`` are the
    teacher's outputs for all samples, where they were asked for beforehand.
    """

    inputs: tuple[Tensor, ...]
    labels: Tensor | None
    label_loss: Loss
    names: tuple[str, ...] = ()
    teacher: nn.Module | None = None
    temperature: float = 4.0
    share: float = 0.9
    augment: Augment | None = None
    answers: Tensor | None = None

    @classmethod
    def of(cls, samples: Calibration, teacher: nn.Module | None, temperature: float, share: float,
           augment: Augment | None = None) -> TrainingBatches:
        """The batches that samples give; labels are left out where only the teacher counts.

        Raises:
            SecateurError: no labels where they are needed.
        """
        teacher_alone = teacher is not None and share == 1
        if not teacher_alone and not samples.labelled:
            raise SecateurError("data has no labels; allowed are pairs (inputs, labels), or a teacher with share=1")
        labels = None if teacher_alone else joined_labels(samples)
        return cls(join(samples), labels, samples.loss, samples.names, teacher, temperature, share, augment)

    def __len__(self) -> int:
        return len(self.inputs[0])

    def to(self, device: torch.device) -> None:
        """Move all samples to a device, so that no step has to."""
        self.inputs = tuple(x.to(device) for x in self.inputs)
        self.labels = None if self.labels is None else self.labels.to(device)

    def ask_teacher(self) -> None:
        """Ask the teacher once for all samples, unless they are moved at every step."""
        if self.teacher is not None and self.augment is None:
            # in parts, because a teacher's activations for all samples at once may not fit in memory
            self.answers = torch.cat([_logits(self.teacher, self.at(places)) for places in
                                      torch.arange(len(self)).split(1000)])  # type: ignore[no-untyped-call]

    def loss(self, model: nn.Module, places: Tensor) -> tuple[Tensor, Any]:
        """The loss of a network on the samples at some places, and its outputs for them."""
        batch = self.at(places).to(device_of(model))
        outputs = call(model, batch)
        if self.teacher is None:
            return self.label_loss(outputs, batch.labels), outputs
        answers = _logits(self.teacher, batch) if self.answers is None else self.answers[places]
        return distillation(outputs, answers, batch.labels, self.temperature, self.share, self.label_loss), outputs

    def at(self, places: Tensor) -> Batch:
        """The samples at some places, as the network is to see them at this step.

        Raises:
            SecateurError: see :func:`change_inputs`.
        """
        labels = None if self.labels is None else self.labels[places]
        batch = Batch(tuple(x[places] for x in self.inputs), labels, self.names)
        return batch if self.augment is None else change_inputs(batch, self.augment)


def change_inputs(batch: Batch, augment: Augment) -> Batch:
    """A batch with its inputs changed.

    Raises:
        SecateurError: ``augment`` fails, or gives other than tensors of as many samples, one for each input.
    """
    with failing(f"augment failed on {Batch(batch.inputs)}"):
        given = augment(*batch.inputs)
    made: tuple[Any, ...] = given if isinstance(given, tuple) else (given,)
    fits = [isinstance(new, Tensor) and new.ndim > 0 and len(new) == len(old) if isinstance(old, Tensor) else True
            for new, old in zip(made, batch.inputs, strict=False)]
    if len(made) != len(batch.inputs) or not all(fits):
        raise SecateurError(f"augment returned {Batch(made)} for {Batch(batch.inputs)}: allowed are tensors with as "
                            "many samples, one for each input")
    return replace(batch, inputs=made)


def require_samples(data: Any, loss: Loss | None = None) -> Calibration:
    """The samples that a caller gave as data.

    Raises:
        SecateurError: it is nothing that :func:`secateur.data.calibration.calibration` takes.
    """
    samples = calibration(data if loss is None else Samples(data, loss=loss))
    if samples is None:
        raise SecateurError("data is None; allowed are samples to learn from, such as a pair (inputs, labels)")
    return samples


@torch.no_grad()
def _logits(model: nn.Module, batch: Batch) -> Tensor:
    """The outputs of a network in evaluation mode: ``(n, ..., classes)``; its mode stays as it is."""
    with watch(model, {}):
        return call(model, batch)  # type: ignore[no-any-return]
