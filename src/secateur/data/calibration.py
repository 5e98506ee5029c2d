"""What ``data=`` may hold, as one thing: batches of inputs, with labels or without, read once and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from secateur.core.errors import SecateurError, failing
from secateur.core.module_state import same_random_numbers
from secateur.core.tensors import dtype_name
from secateur.data.datasets.base import Dataset

Loss = Callable[[Any, Any], Tensor]
ALLOWED = ("a tensor of inputs, a pair (inputs, labels) of tensors, a dict of tensors by argument, or an iterable of "
           "batches, each inputs or a pair (inputs, labels); several inputs are a tuple or a dict, ((first, second), "
           "labels), labels may be None")
BATCH = 512
MASK = "attention_mask"


@dataclass(frozen=True)
class Batch:
    """Some samples: the arguments of one call of the network, and their labels where there are any.

    ``names`` are those of the inputs where they are keyword arguments.
    """

    inputs: tuple[Any, ...]
    labels: Any = None
    names: tuple[str, ...] = ()

    @property
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The inputs as positional and as keyword arguments."""
        return ((), dict(zip(self.names, self.inputs, strict=True))) if self.names else (self.inputs, {})

    @property
    def mask(self) -> Tensor | None:
        """Which places of sequences are real, bool ``(samples, length)``, where an input named ``attention_mask`` says
        so; the others are padding.

        >>> Batch((torch.tensor([[1, 1, 0]]),), None, ("attention_mask",)).mask
        tensor([[ True,  True, False]])
        """
        mask = self.arguments[1].get(MASK)
        return mask.bool() if isinstance(mask, Tensor) and mask.ndim == 2 else None

    def real(self, values: Tensor) -> Tensor:
        """Values of sequences without those of padding, ``(places, ...)``; others as they are."""
        mask = self.mask
        fits = mask is not None and values.ndim > 2 and values.shape[:2] == mask.shape
        return values[mask.to(values.device)] if mask is not None and fits else values

    def to(self, device: torch.device | str) -> Batch:
        """The same on a device."""
        moved = tuple(v.to(device) if isinstance(v, Tensor) else v for v in self.inputs)
        labels = self.labels.to(device) if isinstance(self.labels, Tensor) else self.labels
        return Batch(moved, labels, self.names)

    def __str__(self) -> str:
        told = map(describe_value, self.inputs)
        return " and ".join(f"{name} {what}" for name, what in zip(self.names, told, strict=True)) if self.names else (
            " and ".join(told))

    def __len__(self) -> int:
        return next((len(v) for v in self.inputs if isinstance(v, Tensor) and v.ndim), 1)


def describe_value(value: Any) -> str:
    """The shape and type of a tensor, the class of anything else.

    >>> describe_value(torch.zeros(2, 3)), describe_value("a")
    ('(2, 3) float32', 'str')
    """
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {dtype_name(value.dtype)}"
    return type(value).__name__


@dataclass(frozen=True)
class Told:
    """A loss that says what it was given where it fails."""

    loss: Loss

    def __call__(self, outputs: Any, labels: Any) -> Tensor:
        """The loss; labels that it does not take are a :class:`SecateurError`."""
        what = f"data: no loss of outputs {describe_value(outputs)} and labels {describe_value(labels)}"
        with failing(what, "the cross-entropy takes whole numbers from 0, one a class; for other labels give "
                     "data=Samples(inputs, labels, loss=...)"):
            return self.loss(outputs, labels)


@dataclass(frozen=True, eq=False)
class Samples:
    """What ``data=`` may hold where the loss is not the cross-entropy: inputs, labels, and the loss of both.

    Args:
        inputs: a tensor or NumPy array ``(samples, ...)``, a tuple or a dict of them, or an iterable of batches.
        labels: one for each sample, where there are any.
        loss: takes the network's outputs and the labels, gives the mean over the batch.

    >>> found = calibration(Samples(torch.zeros(4, 3), torch.ones(4), loss=nn.functional.mse_loss))
    >>> found.labelled
    True
    """

    inputs: Any
    labels: Any = None
    loss: Loss = nn.functional.cross_entropy


class Calibration:
    """Samples to measure a network on; made by :func:`calibration`.

    Batches are read once and kept, so that every pass gives the same inputs with the same labels, whatever the loader
    would do the next time. ``loss`` takes the network's outputs and the labels and gives the mean over the batch.
    """

    def __init__(self, batches: Iterable[Any], loss: Loss = nn.functional.cross_entropy):
        self._batches = [as_batch(batch) for batch in batches]
        self.loss: Loss = loss if isinstance(loss, Told) else Told(loss)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)

    @property
    def labelled(self) -> bool:
        """Whether the samples have labels."""
        return self._batches[0].labels is not None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs, where they are keyword arguments."""
        return self._batches[0].names

    def example(self) -> Any:
        """The inputs of the first sample, as the arguments of a call: a tuple, or a dict by name."""
        first = tuple(v[:1] if isinstance(v, Tensor) and v.ndim else v for v in self._batches[0].inputs)
        return dict(zip(self.names, first, strict=True)) if self.names else first

    def first(self, count: int) -> Calibration:
        """The first batches, until they hold ``count`` samples."""
        taken: list[Batch] = []
        for batch in self:
            if sum(map(len, taken)) >= count:
                break
            taken.append(batch)
        return Calibration(taken, self.loss)


def calibration(data: Any) -> Calibration | None:
    """The samples that a caller gave as ``data=``; ``None`` stays ``None``.

    Args:
        data: a tensor of inputs, a pair of tensors ``(inputs, labels)``, :class:`Samples`, a
            :class:`~secateur.data.Dataset` (its training part), a dict of tensors by argument, or an iterable of
            batches (a list, a ``DataLoader``), each inputs, a dict of them, or a pair ``(inputs, labels)``. Where one
            argument is ``attention_mask``,
            ``(samples, length)``, the places that it hides are not counted in what is measured of layers.
            Tensors are gone through 512 samples at a time. Batches are read once, here, and held
            in memory; what a loader draws from the global generators to shuffle is put back.
            NumPy arrays stand for tensors; floating ones become of torch's default type.

    Raises:
        SecateurError: it is something else, holds nothing, or a value that is NaN or infinite.

    >>> found = calibration((torch.zeros(700, 3), torch.zeros(700, dtype=torch.long)))
    >>> [len(batch) for batch in found], found.labelled
    ([512, 188], True)
    """
    if data is None or isinstance(data, Calibration):
        return data
    loss: Loss = data.loss if isinstance(data, Samples) else nn.functional.cross_entropy
    batches = _batches(as_tensors(data))
    with nullcontext() if isinstance(batches, Iterator) else same_random_numbers():
        made = Calibration(batches, loss)
    for number, batch in enumerate(made):
        check_finite(number, batch)
        if batch.names != made.names:
            raise SecateurError(f"data: batch {number} has arguments {', '.join(batch.names) or 'by place'}, batch 0 "
                                f"{', '.join(made.names) or 'by place'}; allowed are the same in all, in one order")
        if (batch.labels is None) == made.labelled:
            raise SecateurError(f"data: batch {number} has {'no ' if made.labelled else ''}labels, batch 0 has "
                                f"{'them' if made.labelled else 'none'}; allowed is labels in all batches or in none")
    if not sum(map(len, made)):
        raise SecateurError(f"data holds no samples; allowed is {ALLOWED}")
    return made


def check_finite(number: int, batch: Batch) -> None:
    """Refuse NaN and infinite values; -inf may stand in arguments after the first, where masks are added."""
    parts = [*((f"input {i}", v, i > 0) for i, v in enumerate(batch.inputs)), ("the labels", batch.labels, False)]
    for name, values, mask in parts:
        if isinstance(values, Tensor) and (values.is_floating_point() or values.is_complex()):
            values = values if values.layout == torch.strided else values.detach().to_dense()
            wrong = ~torch.isfinite(values)
            wrong = wrong & ~torch.isneginf(values) if mask and values.is_floating_point() else wrong
            if count := int(wrong.sum()):
                raise SecateurError(f"data: {name} of batch {number} holds {count} NaN or infinite values of "
                                    f"{values.numel()}; allowed are finite ones")


def as_tensors(data: Any) -> Any:
    """What was given with tensors in place of NumPy arrays, and samples as the pair or the inputs that they hold.

    >>> as_tensors((np.zeros((2, 3)), np.ones(2, np.int64)))[0].dtype
    torch.float32
    """
    if isinstance(data, Samples):
        return as_tensors(data.inputs if data.labels is None else (data.inputs, data.labels))
    if isinstance(data, np.ndarray):
        found = torch.from_numpy(np.ascontiguousarray(data))
        return found.to(torch.get_default_dtype()) if found.is_floating_point() else found
    if isinstance(data, (tuple, list)):
        nested = any(isinstance(value, (np.ndarray, tuple, list)) for value in data)
        return type(data)(map(as_tensors, data)) if nested else data
    if isinstance(data, Mapping) and any(isinstance(v, np.ndarray) for v in data.values()):
        return {name: as_tensors(value) for name, value in data.items()}
    return data


def _batches(data: Any) -> Iterable[Any]:
    if isinstance(data, Dataset):
        data = (data.train_x, data.train_y)
    if isinstance(data, Tensor):
        if data.ndim == 1 and data.is_floating_point() and len(data):
            raise SecateurError(f"data is a tensor of shape ({len(data)},), which has no axis of samples; for one "
                                "sample give data[None], for numbers that are a sample each [data]")
        return data.split(BATCH) if data.ndim and len(data) else []
    if isinstance(data, tuple) and len(data) == 2 and all(isinstance(part, Tensor) for part in data):
        if any(part.ndim == 0 for part in data) or len(data[0]) != len(data[1]):
            shapes = " and ".join(str(tuple(part.shape)) for part in data)
            raise SecateurError(f"data is inputs and labels of shapes {shapes}; allowed is one label for each input; "
                                "several inputs without labels are [((first, second), None)]")
        return list(zip(data[0].split(BATCH), data[1].split(BATCH), strict=True)) if len(data[0]) else []
    if isinstance(data, Mapping):
        return _in_parts(data)
    if isinstance(data, (str, bytes)) or not isinstance(data, Iterable):
        raise SecateurError(f"data is a {type(data).__name__}; allowed is {ALLOWED}")
    return data


def _in_parts(data: Mapping[str, Any]) -> list[Batch]:
    """Tensors by argument, 512 samples at a time.

    >>> [len(batch) for batch in _in_parts({"ids": torch.zeros(700, 3)})]
    [512, 188]
    """
    if not data or not all(isinstance(v, Tensor) and v.ndim for v in data.values()) or len(
            {len(v) for v in data.values()}) > 1:
        got = ", ".join(f"{name} {describe_value(v)}" for name, v in data.items()) or "nothing"
        raise SecateurError(f"data is a dict of {got}; allowed are tensors by argument, all of as many samples")
    parts = zip(*(v.split(BATCH) for v in data.values()), strict=True)
    return [Batch(tuple(part), None, tuple(map(str, data))) for part in parts]


def as_batch(batch: Any) -> Batch:
    """One batch as a loader gives it: inputs, a dict of them by argument, or a pair of inputs and labels.

    >>> as_batch((torch.zeros(2, 3), torch.ones(2))).labels
    tensor([1., 1.])
    """
    if isinstance(batch, Batch):
        return batch
    batch = as_tensors(batch)
    if isinstance(batch, Tensor):
        return Batch((batch,))
    if isinstance(batch, Mapping):
        return Batch(tuple(batch.values()), None, tuple(map(str, batch)))
    if not isinstance(batch, (tuple, list)) or not 1 <= len(batch) <= 2:
        size = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
        raise SecateurError(f"a batch of data is a {type(batch).__name__}{size}; allowed is {ALLOWED}")
    inputs, labels = (*batch, None)[:2]
    if isinstance(inputs, Mapping):
        return Batch(tuple(inputs.values()), labels, tuple(map(str, inputs)))
    return Batch(tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,), labels)


def join(samples: Calibration) -> tuple[Tensor, ...]:
    """All inputs as one tensor for each argument.

    Raises:
        SecateurError: an input that is no tensor, or batches that do not go together.
    """
    shapes = {tuple(tuple(v.shape[1:]) if isinstance(v, Tensor) else None for v in b.inputs) for b in samples}
    if None in chain(*shapes):
        raise SecateurError("data: every input must be a tensor to be taken apart into samples")
    if len(shapes) > 1:
        raise SecateurError("data: to be taken apart into samples all must have one shape, got "
                            + ", ".join(sorted(map(str, shapes))[:4]))
    return tuple(torch.cat(column) for column in zip(*(batch.inputs for batch in samples), strict=True))


def joined_labels(samples: Calibration) -> Tensor:
    """All labels as one tensor, in the order of :func:`join`.

    Raises:
        SecateurError: labels that are no tensors, or not one a sample.
    """
    for number, batch in enumerate(samples):
        labels = batch.labels
        if not isinstance(labels, Tensor) or not labels.ndim or len(labels) != len(batch):
            got = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
            raise SecateurError(f"data: batch {number} has {len(batch)} samples and labels {got}; allowed is a tensor "
                                "with one label a sample")
    return torch.cat([batch.labels for batch in samples])
