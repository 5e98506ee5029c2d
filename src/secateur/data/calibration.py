"""What ``data=`` may hold, as one thing: batches of inputs, with labels or without, read once and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.errors import SecateurError, failing
from secateur.core.module_state import same_random_numbers
from secateur.data.batch import ALLOWED, Batch, as_batch, as_tensors, describe_value, has_rows
from secateur.data.datasets.base import Dataset

Loss = Callable[[Any, Any], Tensor]
Stream = Callable[[], Iterator[Any]]
_BATCH = 512
_IGNORED = -100
"""The label that torch's cross-entropy leaves out."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples for ``data=`` with a loss other than the cross-entropy: inputs, labels, and the loss.

    Args:
        inputs: a tensor or NumPy array ``(samples, ...)``, a tuple or a dict of them, or an iterable of batches.
        labels: one for each sample, where there are any.
        loss: takes the network's outputs and the labels, gives the mean over the batch.
        keep: for an iterable of batches of any length: its first batches, until they hold so many samples, are kept in
            memory and serve for all that looks at samples; the last step of recovery ``best`` goes on through the rest,
            batch by batch. 0 keeps all. Give a loader that does not shuffle, because an eighth of what is kept is held
            out to choose by.

    >>> found = calibration(Samples(torch.zeros(4, 3), torch.ones(4), loss=nn.functional.mse_loss))
    >>> found.labelled
    True
    """

    inputs: Any
    labels: Any = None
    loss: Loss = nn.functional.cross_entropy
    keep: int = 0


@dataclass(frozen=True)
class _CheckedLoss:
    """A loss that says what it was given where it fails.

    ``span`` holds the least and the greatest label of all batches, where the labels are classes. It is compared with
    the outputs beforehand, because a GPU is lost to the process when the cross-entropy meets a class that is not there.
    """

    loss: Loss
    span: tuple[int, ...] = ()

    def __call__(self, outputs: Any, labels: Any) -> Tensor:
        """The loss; labels that it does not take are a :class:`SecateurError`."""
        what = f"data: cannot compute the loss of outputs {describe_value(outputs)} and labels {describe_value(labels)}"
        hint = ("the cross-entropy takes class numbers (integers from 0); for other labels give "
                "data=Samples(inputs, labels, loss=...)")
        with failing(what, hint):
            one_each = (self.span and isinstance(outputs, Tensor) and outputs.ndim > 1
                        and labels.shape == outputs.shape[:1] + outputs.shape[2:])
            if one_each and not 0 <= self.span[0] <= self.span[1] < outputs.shape[1]:
                raise SecateurError(f"{what}: labels run from {self.span[0]} to {self.span[1]}, the outputs have "
                                    f"{outputs.shape[1]} classes; {hint}")
            return self.loss(outputs, labels)


class Calibration:
    """Samples to measure a network on; made by :func:`calibration`.

    Batches are read once and kept, so that every pass gives the same inputs with the same labels, whatever the loader
    would do the next time. ``loss`` takes the network's outputs and the labels and gives the mean over the batch.
    ``stream`` gives further batches, which are not kept; None where there are none.
    """

    def __init__(self, batches: Iterable[Any], loss: Loss = nn.functional.cross_entropy, stream: Stream | None = None):
        self.stream = stream
        self._batches = [batch for batch in map(as_batch, batches) if len(batch)]
        if loss is nn.functional.cross_entropy:
            self._batches = [replace(batch, labels=_as_class_numbers(batch.labels)) for batch in self._batches]
            edges = list(chain(*(_class_range(batch.labels) for batch in self._batches)))
            loss = _CheckedLoss(loss, (min(edges), max(edges)) if edges else ())
        self.loss: Loss = loss if isinstance(loss, _CheckedLoss) else _CheckedLoss(loss)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)

    @property
    def own_loss(self) -> bool:
        """Whether the loss is another than the cross-entropy."""
        return not isinstance(self.loss, _CheckedLoss) or self.loss.loss is not nn.functional.cross_entropy

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
        first = tuple(v.narrow_copy(0, 0, 1) if has_rows(v) else v for v in self._batches[0].inputs)
        return dict(zip(self.names, first, strict=True)) if self.names else first

    def first(self, count: int) -> Calibration:
        """The first batches, until they hold ``count`` samples."""
        taken: list[Batch] = []
        for batch in self:
            if sum(map(len, taken)) >= count:
                break
            taken.append(batch)
        return self.of(taken)

    def of(self, batches: Iterable[Any]) -> Calibration:
        """Other batches with the same loss."""
        return Calibration(batches, self.loss)


def calibration(data: Any) -> Calibration | None:
    """The samples that a caller gave as ``data=``; ``None`` stays ``None``.

    Args:
        data: a tensor of inputs, a pair ``(inputs, labels)`` of tensors (several inputs are a tuple or a dict of
            them), :class:`Samples`, a
            :class:`~secateur.data.Dataset` (its training part), a dict of tensors by argument, or an iterable of
            batches (a list, a ``DataLoader``), each inputs, a dict of them, or a pair ``(inputs, labels)``. Where one
            argument is ``attention_mask``, ``(samples, length)``, the places that it hides are not counted in what is
            measured of layers. Tensors are gone through 512 samples at a time. Batches are read once, here, and held
            in memory; what a loader draws from the global generators to shuffle is put back.
            NumPy arrays stand for tensors; floating ones become of torch's default type. Where the loss is the
            cross-entropy, integer labels of any type become int64.

    Raises:
        SecateurError: it is something else, holds nothing, or a value that is NaN or infinite.

    >>> found = calibration((torch.zeros(700, 3), torch.zeros(700, dtype=torch.long)))
    >>> [len(batch) for batch in found], found.labelled
    ([512, 188], True)
    """
    if data is None or isinstance(data, Calibration):
        return data
    loss: Loss = nn.functional.cross_entropy
    stream: Stream | None = None
    if isinstance(data, Samples):
        keep = data.keep
        data, loss = data.inputs if data.labels is None else (data.inputs, data.labels), data.loss
        if keep:
            data, stream = _first_and_rest(data, keep)
    batches = _batches(as_tensors(data))
    with nullcontext() if isinstance(batches, Iterator) else same_random_numbers():
        made = Calibration(batches, loss, stream)
    for number, batch in enumerate(made):
        check_values(f"batch {number}", batch)
        if batch.names != made.names:
            raise SecateurError(f"data: batch {number} has arguments {', '.join(batch.names) or 'by place'}, batch 0 "
                                f"{', '.join(made.names) or 'by place'}; allowed are the same names in the same order")
        if (batch.labels is None) == made.labelled:
            raise SecateurError(f"data: batch {number} has {'no ' if made.labelled else ''}labels, batch 0 has "
                                f"{'them' if made.labelled else 'none'}; allowed is labels in all batches or in none")
    if not sum(map(len, made)):
        raise SecateurError(f"data holds no samples; allowed is {ALLOWED}")
    return made


def _first_and_rest(data: Any, keep: int) -> tuple[list[Any], Stream]:
    """The first batches of an iterable, until they hold ``keep`` samples, and what gives those behind them.

    An iterator can be gone through only once, so that its rest is empty the second time.

    Raises:
        SecateurError: data are no iterable of batches, or the number is below 1.

    >>> first, rest = _first_and_rest([torch.zeros(2, 1), torch.ones(2, 1), torch.ones(2, 1)], 3)
    >>> len(first), len(list(rest())), len(list(rest()))
    (2, 1, 1)
    """
    if isinstance(data, (Tensor, Mapping, tuple, Dataset, str, bytes)) or not isinstance(data, Iterable):
        raise SecateurError(f"Samples(keep={keep!r}): the inputs are a {type(data).__name__}; allowed is an iterable "
                            "of batches, such as a list, a DataLoader or a generator")
    if not isinstance(keep, int) or keep < 1:
        raise SecateurError(f"Samples(keep={keep!r}); allowed is a whole number from 1 on, or 0 to keep all")
    with nullcontext() if isinstance(data, Iterator) else same_random_numbers():
        batches, taken, held = iter(data), list[Any](), 0
        while held < keep and (batch := next(batches, None)) is not None:
            taken.append(batch)
            held += len(as_batch(batch))
    return taken, (lambda: batches) if batches is data else lambda: islice(iter(data), len(taken), None)


def samples_of_example(example: Any) -> Calibration | None:
    """The samples that ``example=`` holds: one input, a tuple or a dict of them, or a list of these; None of none.

    >>> [len(batch) for batch in samples_of_example([torch.zeros(1, 3), torch.zeros(4, 3)])]
    [1, 4]
    """
    if example is None:
        return None
    each = example if isinstance(example, list) else [example]
    return Calibration([one if isinstance(one, Mapping) else (one if isinstance(one, tuple) else (one,), None)
                        for one in each])


def check_values(called: str, batch: Batch) -> None:
    """Refuse NaN and infinite values; -inf may stand in arguments after the first, where masks are added.

    Raises:
        SecateurError: there are some; the message says in which batch, as it is ``called``.
    """
    parts = [*((f"input {i}", v, i > 0) for i, v in enumerate(batch.inputs)), ("the labels", batch.labels, False)]
    for name, values, mask in parts:
        if isinstance(values, Tensor) and (values.is_floating_point() or values.is_complex()):
            values = values if values.layout == torch.strided else values.detach().to_dense()
            wrong = ~torch.isfinite(values)
            wrong = wrong & ~torch.isneginf(values) if mask and values.is_floating_point() else wrong
            if count := int(wrong.sum()):
                raise SecateurError(f"data: {name} of {called} holds {count} NaN or infinite values of "
                                    f"{values.numel()}; allowed are finite ones")


def _is_class_number(labels: Any) -> bool:
    """Whether labels are tensors of integers."""
    return isinstance(labels, Tensor) and not (labels.is_floating_point() or labels.is_complex()
                                               or labels.dtype == torch.bool)


def _as_class_numbers(labels: Any) -> Any:
    """Integer labels as int64, the one type that all that reads labels takes; others as they are.

    >>> _as_class_numbers(torch.ones(1, dtype=torch.uint16)).dtype, _as_class_numbers(torch.ones(1)).dtype
    (torch.int64, torch.float32)
    """
    return labels.long() if _is_class_number(labels) else labels


def _class_range(labels: Any) -> tuple[int, ...]:
    """The least and the greatest of int64 labels that count; nothing where there are none."""
    if not _is_class_number(labels) or not (counted := labels[labels != _IGNORED]).numel():
        return ()
    return int(counted.min()), int(counted.max())


def _batches(data: Any) -> Iterable[Any]:
    if isinstance(data, Dataset):
        data = (data.train_x, data.train_y)
    if isinstance(data, Tensor):
        if data.ndim == 1 and data.is_floating_point() and len(data):
            raise SecateurError(f"data is a tensor of shape ({len(data)},), which has no axis of samples; for one "
                                "sample give data[None], for samples of one number each give [data]")
        return data.split(_BATCH) if data.ndim and len(data) else []
    if isinstance(data, tuple) and len(data) == 2 and all(isinstance(part, Tensor) for part in data):
        if any(part.ndim == 0 for part in data) or len(data[0]) != len(data[1]):
            shapes = " and ".join(str(tuple(part.shape)) for part in data)
            raise SecateurError(f"data is inputs and labels of shapes {shapes}; allowed is one label for each input; "
                                "several inputs without labels are [((first, second), None)]")
        return list(zip(data[0].split(_BATCH), data[1].split(_BATCH), strict=True)) if len(data[0]) else []
    if isinstance(data, Mapping):
        return _in_parts(data)
    if _is_pair(data):
        return _pairs(*data)
    if isinstance(data, (str, bytes)) or not isinstance(data, Iterable):
        raise SecateurError(f"data is a {type(data).__name__}; allowed is {ALLOWED}")
    return data


def _is_pair(data: Any) -> bool:
    """Whether data are several inputs with their labels, or None for these; as two batches they could not be read."""
    return (isinstance(data, tuple) and len(data) == 2 and (data[1] is None or isinstance(data[1], Tensor))
            and (isinstance(data[0], Mapping) or (
                isinstance(data[0], tuple) and bool(data[0]) and all(isinstance(one, Tensor) for one in data[0]))))


def _pairs(inputs: Mapping[str, Any] | tuple[Tensor, ...], labels: Tensor | None) -> list[tuple[Any, Tensor | None]]:
    """Inputs with their labels, 512 samples at a time.

    >>> [(len(x["ids"]), len(y)) for x, y in _pairs({"ids": torch.zeros(700, 3)}, torch.zeros(700))]
    [(512, 512), (188, 188)]
    """
    named = inputs if isinstance(inputs, Mapping) else {f"input {i}": one for i, one in enumerate(inputs)}
    parts: list[Any] = _in_parts(named)
    count = sum(len(next(iter(part.values()))) for part in parts)
    if labels is not None and (labels.ndim == 0 or len(labels) != count):
        raise SecateurError(f"data is {count} samples with labels {describe_value(labels)}; allowed is one label for "
                            "each sample")
    each = [None] * len(parts) if labels is None else labels.split(_BATCH)
    return [(part if isinstance(inputs, Mapping) else tuple(part.values()), own)
            for part, own in zip(parts, each, strict=True)]


def _in_parts(data: Mapping[str, Any]) -> list[dict[str, Tensor]]:
    """Tensors by argument, 512 samples at a time.

    >>> [len(part["ids"]) for part in _in_parts({"ids": torch.zeros(700, 3)})]
    [512, 188]
    """
    if not data or not all(isinstance(v, Tensor) and v.ndim for v in data.values()) or len(
            {len(v) for v in data.values()}) > 1:
        got = ", ".join(f"{name} {describe_value(v)}" for name, v in data.items()) or "nothing"
        raise SecateurError(f"data is a dict of {got}; allowed are tensors by argument name, with the same number of "
                            "samples")
    parts = zip(*(v.split(_BATCH) for v in data.values()), strict=True)
    return [dict(zip(data, part, strict=True)) for part in parts]


def join(samples: Calibration) -> tuple[Tensor, ...]:
    """All inputs as one tensor for each argument.

    Raises:
        SecateurError: an input that is no tensor, or batches that do not go together.
    """
    shapes = {tuple(tuple(v.shape[1:]) if isinstance(v, Tensor) else None for v in b.inputs) for b in samples}
    if None in chain(*shapes):
        raise SecateurError("data: cannot split batches into samples: every input must be a tensor")
    if len(shapes) > 1:
        raise SecateurError("data: cannot split batches into samples: all must have the same shape, got "
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
                                "with one label per sample")
    return torch.cat([batch.labels for batch in samples])
