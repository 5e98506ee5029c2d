"""Some samples for one call of a network, with their labels where there are any, from whatever a loader gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from secateur.core.errors import SecateurError, failing
from secateur.core.tensors import dtype_name

ALLOWED = ("a tensor of inputs, a pair (inputs, labels) of tensors, a dict of tensors by argument, or an iterable of "
           "batches, each inputs or a pair (inputs, labels); several inputs are a tuple or a dict, ((first, second), "
           "labels), labels may be None")
_MASK = "attention_mask"


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
        """Which places of sequences are no padding, bool ``(samples, length)``; None unless an input is named
        ``attention_mask``.

        >>> Batch((torch.tensor([[1, 1, 0]]),), None, ("attention_mask",)).mask
        tensor([[ True,  True, False]])
        """
        mask = self.arguments[1].get(_MASK)
        return mask.bool() if isinstance(mask, Tensor) and mask.ndim == 2 else None

    def real(self, values: Tensor) -> Tensor:
        """Values ``(samples, length, ...)`` without those of padding, ``(places, ...)``; other values as they are."""
        mask = self.mask
        fits = mask is not None and values.ndim > 2 and values.shape[:2] == mask.shape
        return values[mask.to(values.device)] if mask is not None and fits else values

    def at(self, places: Tensor) -> Batch:
        """The samples at some places; inputs and labels that are not one a sample stay whole.

        >>> Batch((torch.tensor([5, 6, 7]), "relu")).at(torch.tensor([2, 0])).inputs
        (tensor([7, 5]), 'relu')
        """
        count = len(self)

        def some(value: Any) -> Any:
            return value.index_select(0, places.to(value.device)) if has_rows(value) and len(value) == count else value
        return Batch(tuple(map(some, self.inputs)), some(self.labels), self.names)

    def to(self, device: torch.device | str, copy: bool = False) -> Batch:
        """The same batch on a device; with ``copy`` its inputs are copied even where they are there already."""
        moved = tuple(v.to(device, copy=copy) if isinstance(v, Tensor) else v for v in self.inputs)
        labels = self.labels.to(device) if isinstance(self.labels, Tensor) else self.labels
        return Batch(moved, labels, self.names)

    def __str__(self) -> str:
        names = [f"{name} " for name in self.names] or [""] * len(self.inputs)
        return " and ".join(name + describe_value(value) for name, value in zip(names, self.inputs, strict=True))

    def __len__(self) -> int:
        return next((len(v) for v in self.inputs if isinstance(v, Tensor) and v.ndim), 1)


def has_rows(value: Any) -> bool:
    """Whether a value is a tensor whose rows can be taken: not a scalar, not one of compressed rows.

    >>> has_rows(torch.zeros(3)), has_rows(torch.eye(2).to_sparse()), has_rows(torch.eye(2).to_sparse_csr())
    (True, True, False)
    """
    return isinstance(value, Tensor) and value.ndim > 0 and value.layout in (torch.strided, torch.sparse_coo)


def describe_value(value: Any) -> str:
    """The shape and type of a tensor, the class of anything else.

    >>> describe_value(torch.zeros(2, 3)), describe_value("a")
    ('(2, 3) float32', 'str')
    """
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {dtype_name(value.dtype)}"
    return type(value).__name__


def as_tensors(data: Any) -> Any:
    """A nested value with tensors in place of its NumPy arrays; floating ones get torch's default type.

    Tensors are detached: no gradient leads to samples.

    >>> as_tensors((np.zeros((2, 3)), np.ones(2, np.int64)))[0].dtype
    torch.float32
    """
    return pytree.tree_map(_as_tensor, data, is_leaf=lambda value: isinstance(value, Mapping))


def _as_tensor(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: as_tensors(inner) for name, inner in value.items()}
    if isinstance(value, Tensor) and value.requires_grad:
        return value.detach()
    if not isinstance(value, np.ndarray):
        return value
    with failing(f"data: an array of {value.dtype}", "allowed are arrays of numbers"):
        found = torch.from_numpy(np.ascontiguousarray(value))
    return found.to(torch.get_default_dtype()) if found.is_floating_point() else found


def as_batch(batch: Any) -> Batch:
    """One batch as a loader gives it: inputs, a dict of them by argument, or a pair of inputs and labels.

    >>> as_batch((torch.zeros(2, 3), torch.ones(2))).labels
    tensor([1., 1.])
    """
    if isinstance(batch, Batch):
        return batch
    batch = as_tensors(batch)
    if isinstance(batch, (Tensor, Mapping)):
        batch = (batch,)
    if not isinstance(batch, (tuple, list)) or not 1 <= len(batch) <= 2:
        size = f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""
        raise SecateurError(f"a batch of data is a {type(batch).__name__}{size}; allowed is {ALLOWED}")
    inputs, labels = (*batch, None)[:2]
    if isinstance(inputs, Mapping):
        return Batch(tuple(inputs.values()), labels, tuple(map(str, inputs)))
    return Batch(tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,), labels)
