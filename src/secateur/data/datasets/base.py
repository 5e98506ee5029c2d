"""The contract of a data set: train and test tensors, checked, with a digest of their bytes."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from secateur.core.errors import SecateurError

PARTS = ("train_x", "train_y", "test_x", "test_y")


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory, made by :func:`dataset`.

    ``train_x`` and ``test_x``: ``(samples, ...)``, float32 (images: ``(n, c, h, w)`` in 0..1) or int64
    (token ids). ``train_y`` and ``test_y``: int64 labels, ``(samples,)``, in ``range(classes)``.
    ``digest``: SHA-256 over dtypes, shapes and bytes of the four tensors.
    """

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: int
    digest: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.train_x.shape[1:])

    def to(self, device: torch.device | str) -> Dataset:
        """The same data on another device."""
        return replace(self, **{part: getattr(self, part).to(device) for part in PARTS})


class Source(ABC):
    """Where a data set comes from. One file of this folder, one source."""

    @abstractmethod
    def load(self) -> Dataset:
        """Read it.

        Raises:
            SecateurError: a file is missing and cannot be fetched, is truncated or was altered.
        """


CONTRACT = Source


def dataset(name: str, train_x: Tensor, train_y: Tensor, test_x: Tensor, test_y: Tensor,
            classes: int | None = None) -> Dataset:
    """Check four tensors and make a :class:`Dataset` of them.

    Args:
        name: shown in messages and reports.
        train_x: ``(samples, ...)``: floats become float32, uint8 becomes float32 in 0..1 (divided by 255),
            int32 and int64 become int64.
        train_y: ``(samples,)``, whole numbers from 0.
        test_x: like ``train_x``.
        test_y: like ``train_y``.
        classes: how many; by default the largest label plus one.

    Raises:
        SecateurError: no samples, sizes or shapes that disagree, labels out of range, values not finite.

    >>> dataset("toy", torch.rand(4, 2), torch.tensor([0, 1, 2, 0]), torch.rand(2, 2), torch.tensor([1, 2])).classes
    3
    """
    where = f"data set '{name}'"
    inputs = {n: _inputs(where, n, x) for n, x in (("train_x", train_x), ("test_x", test_x))}
    labels = {n: _labels(where, n, y) for n, y in (("train_y", train_y), ("test_y", test_y))}
    _check_sizes(where, inputs, labels)
    count = 1 + max(int(y.max()) for y in labels.values())
    if classes is not None and classes < count:
        raise SecateurError(f"{where}: the largest label is {count - 1}; allowed are 0 to {classes - 1} ({classes} "
                            "classes)")
    tensors = (inputs["train_x"], labels["train_y"], inputs["test_x"], labels["test_y"])
    return Dataset(name, *tensors, classes or count, digest(tensors))


def digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 over the dtypes, shapes and bytes of tensors, as hexadecimal digits.

    >>> digest([torch.zeros(2)]) == digest([torch.zeros(2)]), digest([torch.zeros(2)]) == digest([torch.zeros(1, 2)])
    (True, False)
    """
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().numpy().data)
    return total.hexdigest()


def file_error(path: Path, what: str) -> SecateurError:
    """The error for a data file that cannot be used, with the folder in which it lies."""
    return SecateurError(f"data file '{path.name}' in folder {path.absolute().parent}: it {what}")


def _inputs(where: str, part: str, x: Tensor) -> Tensor:
    if x.ndim < 2 or not x.numel():
        raise SecateurError(f"{where}: {part} has shape {tuple(x.shape)}; allowed: (samples, ...), at least one sample")
    if x.dtype == torch.uint8:
        return x.float() / 255
    if x.dtype in (torch.int32, torch.int64):
        return x.long()
    if not x.is_floating_point():
        raise SecateurError(f"{where}: {part} is {x.dtype}; allowed: floats, uint8, int32, int64")
    if bad := x.numel() - int(torch.isfinite(x).sum()):
        raise SecateurError(f"{where}: {part} holds {bad} values of {x.numel()} that are NaN or infinite")
    return x.float()


def _labels(where: str, part: str, y: Tensor) -> Tensor:
    if y.ndim != 1 or not y.numel():
        raise SecateurError(f"{where}: {part} has shape {tuple(y.shape)}; allowed: (samples,), at least one sample")
    if y.is_complex() or y.dtype == torch.bool:
        raise SecateurError(f"{where}: {part} must hold class numbers (integers from 0); got {y.dtype}")
    classes = y.long()
    if (y.is_floating_point() and not torch.equal(classes.to(y.dtype), y)) or int(classes.min()) < 0:
        least = y.min().item() if y.is_floating_point() else int(classes.min())
        raise SecateurError(f"{where}: {part} must hold class numbers (integers from 0); got {y.dtype} from {least}")
    return classes


def _check_sizes(where: str, inputs: dict[str, Tensor], labels: dict[str, Tensor]) -> None:
    for (x_name, x), (y_name, y) in zip(inputs.items(), labels.items(), strict=True):
        if len(x) != len(y):
            raise SecateurError(f"{where}: {x_name} has {len(x)} samples, {y_name} has {len(y)} labels")
    train, test = inputs.values()
    if train.shape[1:] != test.shape[1:] or train.dtype != test.dtype:
        raise SecateurError(f"{where}: train and test samples differ: {tuple(train.shape[1:])} {train.dtype} "
                            f"against {tuple(test.shape[1:])} {test.dtype}")
