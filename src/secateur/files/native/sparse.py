"""A tensor as bytes that give it back bit for bit: dense, bitmask and values, or, in files of format 2, CSR.

Every value that has a bit set is stored: a negative zero, a NaN with its payload and a denormal count as values.
A matrix is the first axis by all the others; a vector is one row.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.core.errors import SecateurError
from secateur.core.tensors import raw_bytes

FORMS = {"dense": ("",), "bitmask": (":mask", ":values"), "csr": (":rows", ":columns", ":values"),
         "gaps": (":gaps", ":values")}
ENTRY = 80
"""Bytes that a part takes in the header."""
BOUND = 1024
"""How many times as large as its bytes in the file a tensor may be."""
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Sizes:
    """What a tensor needs: ``items`` values of ``item`` bytes in ``rows`` rows, ``nonzeros`` of them with a bit set."""

    items: int
    item: int
    rows: int
    nonzeros: int

    @property
    def columns(self) -> int:
        """Values in a row."""
        return self.items // self.rows if self.rows else 0

    def bytes(self, form: str) -> int:
        """The bytes of a form, without its lines in the header."""
        if form == "dense":
            return self.items * self.item
        if form == "bitmask":
            return ceil(self.items / 8) + self.nonzeros * self.item
        return (self.nonzeros * (self.item + byte_width(max(self.columns - 1, 0)))
                + (self.rows + 1) * byte_width(self.nonzeros))



def byte_width(most: int) -> int:
    """The bytes of the smallest unsigned integer that holds a number.

    >>> [byte_width(n) for n in (255, 256, 65536)]
    [1, 2, 4]
    """
    return next(width for width in (1, 2, 4, 8) if most < 256**width)


def sizes(shape: tuple[int, ...], item: int, nonzeros: int) -> Sizes:
    """The sizes of a tensor of this shape."""
    return Sizes(prod(shape), item, shape[0] if len(shape) > 1 else 1, nonzeros)


def bits(tensor: Tensor) -> NDArray[np.generic]:
    """The values of a tensor as unsigned integers, ``(items,)``; of 16 bytes two for one."""
    return raw_bytes(tensor).numpy().view(f"<u{min(tensor.element_size(), 8)}")


def count_stored(tensor: Tensor) -> int:
    """How many values have a bit set.

    >>> count_stored(torch.tensor([0.0, -0.0, 1.0]))
    2
    """
    return int(np.count_nonzero(bits(tensor))) if tensor.numel() else 0


def encode(tensor: Tensor, form: str) -> tuple[Bytes, ...]:
    """The parts of a tensor that is stored dense or as a bitmask, each as bytes, in the order of :data:`FORMS`."""
    flat = bits(tensor)
    if form == "dense":
        return (flat.view(np.uint8),)
    there = flat != 0
    values = flat[there].view(np.uint8)
    return np.packbits(there, bitorder="little"), values


def decode(parts: tuple[Bytes, ...], form: str, kind: torch.dtype, shape: tuple[int, ...], what: str) -> Tensor:
    """The tensor of parts whose lengths were checked.

    Raises:
        SecateurError: the bits, rows or columns do not add up.
    """
    if not prod(shape):
        return torch.empty(shape, dtype=kind)
    if form == "dense":
        whole = parts[0]
    else:
        count = len(parts[-1]) // kind.itemsize
        there = _places_of_mask(parts[0], prod(shape), what) if form == "bitmask" else _places_of_rows(
            parts[0], parts[1], sizes(shape, kind.itemsize, count), what)
        if len(there) != count:
            raise SecateurError(f"{what}: it has {len(there)} positions but {count} values")
        whole = np.zeros(prod(shape) * kind.itemsize, np.uint8)
        whole.view(f"<u{kind.itemsize}")[there] = parts[-1].view(f"<u{kind.itemsize}")
    return torch.from_numpy(whole).view(kind).view(shape)


def _places_of_mask(mask: Bytes, items: int, what: str) -> NDArray[np.intp]:
    """The places of the bits that are set, ``(values,)``."""
    there = np.unpackbits(mask, bitorder="little")
    if there[items:].any():
        raise SecateurError(f"{what}: a bit is set beyond the last of its {items} positions")
    return np.flatnonzero(there)


def _places_of_rows(rows: Bytes, columns: Bytes, told: Sizes, what: str) -> NDArray[np.intp]:
    """The places of values by the ends of their rows and their columns, ``(values,)``."""
    ends = rows.view(f"<u{byte_width(told.nonzeros)}").astype(np.int64)
    at = columns.view(f"<u{byte_width(max(told.columns - 1, 0))}").astype(np.int64)
    counts = np.diff(ends)
    if ends[0] or ends[-1] != len(at) or (counts < 0).any():
        raise SecateurError(f"{what}: its rows do not add up to {len(at)} values")
    if len(at) and at.max() >= told.columns:
        raise SecateurError(f"{what}: a value is in column {at.max()}, but it has {told.columns} columns")
    places = np.repeat(np.arange(told.rows) * told.columns, counts) + at
    if (np.diff(places) <= 0).any():
        raise SecateurError(f"{what}: the columns of a row are not in ascending order")
    return places
