"""What ``data=`` may hold, as one thing: batches of inputs, with labels or without, that can be gone through again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from secateur.data.base import Dataset
from secateur.errors import SecateurError

Loss = Callable[[Any, Any], Tensor]
ALLOWED = ("a tensor of inputs, a pair (inputs, labels) of tensors, or an iterable of batches, each a tensor of inputs "
           "or a pair (inputs, labels); several inputs are a tuple, ((first, second), labels), labels may be None")
BATCH = 512


@dataclass(frozen=True)
class Batch:
    """Some samples: the arguments of one call of the network, and their labels where there are any."""

    inputs: tuple[Any, ...]
    labels: Any = None

    def to(self, device: torch.device | str) -> Batch:
        """The same on a device."""
        moved = tuple(v.to(device) if isinstance(v, Tensor) else v for v in self.inputs)
        return Batch(moved, self.labels.to(device) if isinstance(self.labels, Tensor) else self.labels)

    def __len__(self) -> int:
        return next((len(v) for v in self.inputs if isinstance(v, Tensor) and v.ndim), 1)


class Calibration:
    """Samples to measure a network on; made by :func:`calibration`.

    ``loss`` takes the network's outputs and the labels and gives the mean over the batch.
    """

    def __init__(self, batches: Iterable[Any], loss: Loss = nn.functional.cross_entropy):
        self._batches, self.loss = batches, loss

    def __iter__(self) -> Iterator[Batch]:
        return map(as_batch, self._batches)

    @property
    def labelled(self) -> bool:
        """Whether the first batch has labels."""
        return next(iter(self)).labels is not None

    @property
    def fixed(self) -> bool:
        """Whether every pass gives the same batches in the same order; a ``DataLoader`` may shuffle."""
        return isinstance(self._batches, (list, tuple))

    def example(self) -> tuple[Any, ...]:
        """The inputs of the first sample, as the arguments of a call."""
        return tuple(v[:1] if isinstance(v, Tensor) and v.ndim else v for v in next(iter(self)).inputs)

    def first(self, count: int) -> Calibration:
        """The first batches, until they hold ``count`` samples."""
        taken: list[Batch] = []
        for batch in self:
            if sum(map(len, taken)) >= count:
                break
            taken.append(batch)
        return Calibration(taken, self.loss)


def calibration(data: Any, loss: Loss | None = None) -> Calibration | None:
    """The samples that a caller gave as ``data=``; ``None`` stays ``None``.

    Args:
        data: a tensor of inputs, a pair of tensors ``(inputs, labels)``, a :class:`~secateur.data.base.Dataset`
            (its training part), or an iterable of batches (a list, a ``DataLoader``), each inputs or a pair
            ``(inputs, labels)``. Tensors are gone through 512 samples at a time. A generator is kept as a list.
        loss: of outputs and labels; by default the cross-entropy.

    Raises:
        SecateurError: it is something else, or holds nothing.

    >>> found = calibration((torch.zeros(700, 3), torch.zeros(700, dtype=torch.long)))
    >>> [len(batch) for batch in found], found.labelled
    ([512, 188], True)
    """
    if data is None or isinstance(data, Calibration):
        return data
    made = Calibration(_batches(data), loss or nn.functional.cross_entropy)
    if next(iter(made), None) is None:
        raise SecateurError(f"data holds no samples; allowed is {ALLOWED}")
    return made


def _batches(data: Any) -> Iterable[Any]:
    if isinstance(data, Dataset):
        data = (data.train_x, data.train_y)
    if isinstance(data, Tensor):
        return data.split(BATCH) if data.ndim and len(data) else []
    if isinstance(data, tuple) and len(data) == 2 and all(isinstance(part, Tensor) for part in data):
        if len(data[0]) != len(data[1]):
            raise SecateurError(f"data holds {len(data[0])} inputs and {len(data[1])} labels; allowed is one for each")
        return list(zip(data[0].split(BATCH), data[1].split(BATCH), strict=True)) if len(data[0]) else []
    if isinstance(data, (str, bytes, dict)) or not isinstance(data, Iterable):
        raise SecateurError(f"data is a {type(data).__name__}; allowed is {ALLOWED}")
    return list(data) if isinstance(data, Iterator) else data


def as_batch(batch: Any) -> Batch:
    """One batch as a loader gives it: inputs, or a pair of inputs and labels.

    >>> as_batch((torch.zeros(2, 3), torch.ones(2))).labels
    tensor([1., 1.])
    """
    if isinstance(batch, Batch):
        return batch
    if isinstance(batch, Tensor):
        return Batch((batch,))
    if not isinstance(batch, (tuple, list)) or not 1 <= len(batch) <= 2:
        size = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
        raise SecateurError(f"a batch of data is a {type(batch).__name__}{size}; allowed is {ALLOWED}")
    inputs, labels = (*batch, None)[:2]
    return Batch(tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,), labels)


def joined(samples: Calibration) -> tuple[Tensor, ...]:
    """All inputs as one tensor for each argument.

    Raises:
        SecateurError: an input that is no tensor.
    """
    columns = list(zip(*(batch.inputs for batch in samples), strict=True))
    if not all(isinstance(v, Tensor) for v in chain(*columns)):
        raise SecateurError("data: every input must be a tensor to be taken apart into samples")
    return tuple(torch.cat(column) for column in columns)
