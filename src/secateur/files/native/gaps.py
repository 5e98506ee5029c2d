"""A tensor as tiles that hold a bit, and the gaps between them in a Rice code.

The gaps of a random mask follow a geometric law, for which such a code is nearly the shortest: at 90 % it takes 4.8
bits a kept value, where a bitmask takes 10 (Rice and Plaunt, *Adaptive Variable-Length Coding for Efficient Compression
of Spacecraft Television Data*, IEEE Transactions on Communication Technology 19(6), 1971). Both halves of the codes lie
in streams of their own, so that NumPy reads all of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.core.errors import SecateurError
from secateur.files.native.sparse import BOUND, Bytes, bits

MOST_TILE = 256
"""Values in the largest tile."""
_ROWS, _COLUMNS = 0, 2


@dataclass(frozen=True)
class Gaps:
    """How the places of a tensor's values are coded.

    A tensor is a box of its first axis, its places of a kernel and its second axis. A tile is ``rows`` of the first by
    ``columns`` of the last, both powers of two; what it has beyond the tensor's edge is zero. Tiles lie in the order of
    that box.

    Attributes:
        rows, columns: of a tile.
        tiles: how many are stored, every value of each.
        low: the bits of each gap's remainder.
        high: the bytes of all quotients, each of which is as many zeros and a one; zeros may follow.
    """

    rows: int
    columns: int
    tiles: int
    low: int
    high: int

    @property
    def index(self) -> int:
        """The bytes of the places."""
        return ceil(self.tiles * self.low / 8) + self.high

    @property
    def values(self) -> int:
        """How many values are stored."""
        return self.tiles * self.rows * self.columns

    def bytes(self, item: int) -> int:
        """The bytes of places and values, of ``item`` bytes each."""
        return self.index + self.values * item

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether its sizes are those of a code of a tensor of this shape."""
        first, _, last = box(shape)
        sides = (self.rows, first), (self.columns, last)
        return (all(side.bit_count() == 1 and side < 2 * max(most, 1) for side, most in sides)
                and self.rows * self.columns <= MOST_TILE and self.tiles <= (count := self.tiles_of(shape))
                and self.low <= count.bit_length())

    def tiles_of(self, shape: tuple[int, ...]) -> int:
        """How many tiles cover a tensor."""
        first, places, last = box(shape)
        return ceil(first / self.rows) * places * ceil(last / self.columns)


def box(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """A shape as first axis, places of the kernel, second axis; a vector is one row.

    >>> box((8, 3, 5, 5)), box((7,))
    ((8, 25, 3), (1, 1, 7))
    """
    return (shape[0], prod(shape[2:]), shape[1]) if len(shape) > 1 else (1, 1, prod(shape))


def shortest(tensor: Tensor) -> Gaps:
    """The tile and the code that take the fewest bytes.

    A side of the tile doubles as long as that takes fewer bytes; so blocks are found without being told. A code of less
    than a :data:`~secateur.files.native.sparse.BOUND`-th of the tensor's bytes is filled up with zeros to that size.
    """
    item = tensor.element_size()
    mask = _boxed(bits(tensor) != 0, tuple(tensor.shape))
    best = _coded(mask, 1, 1)
    while True:
        tried = [(_coded(half, *sides), half) for half, sides in _doubled(mask, best)]
        found, half = min(tried, key=lambda one: one[0].bytes(item), default=(best, mask))
        if found.bytes(item) >= best.bytes(item):
            break
        best, mask = found, half
    more = ceil(tensor.numel() * item / BOUND) - best.bytes(item)
    return Gaps(best.rows, best.columns, best.tiles, best.low, best.high + max(more, 0))


def encode(tensor: Tensor, told: Gaps) -> tuple[Bytes, Bytes]:
    """The places and the values, as bytes."""
    whole = _boxed(bits(tensor), tuple(tensor.shape))
    mask = whole != 0
    for axis, side in ((_ROWS, told.rows), (_COLUMNS, told.columns)):
        for _ in range(side.bit_length() - 1):
            mask = _halved(mask, axis)
    at = np.flatnonzero(mask)
    gaps = np.diff(at, prepend=-1) - 1
    low = (gaps[:, None] >> np.arange(told.low) & 1).astype(np.uint8)
    high = np.zeros(told.high * 8, np.uint8)
    high[np.cumsum((gaps >> told.low) + 1) - 1] = 1
    values = np.ascontiguousarray(_split(whole, told.rows, told.columns)[at])
    return (np.concatenate([np.packbits(low, bitorder="little"), np.packbits(high, bitorder="little")]),
            values.reshape(-1).view(np.uint8))


def decode(index: Bytes, values: Bytes, told: Gaps, kind: torch.dtype, shape: tuple[int, ...], what: str) -> Tensor:
    """The tensor of places and values whose lengths were checked.

    Raises:
        SecateurError: the places do not add up.
    """
    if not prod(shape):
        return torch.empty(shape, dtype=kind)
    first, places, last = box(shape)
    unit, tile = f"<u{kind.itemsize}", (told.rows, told.columns)
    at = _places(index, told, told.tiles_of(shape), what)
    split = np.zeros((told.tiles_of(shape), *tile), unit)
    split[at] = values.view(unit).reshape(len(at), *tile)
    down, across = ceil(first / told.rows), ceil(last / told.columns)
    whole = split.reshape(down, places, across, *tile).transpose(0, 3, 1, 2, 4)
    whole = whole.reshape(down * told.rows, places, across * told.columns)[:first, :, :last]
    flat = np.ascontiguousarray(whole.transpose(0, 2, 1)).reshape(-1)
    return torch.from_numpy(flat.view(np.uint8)).view(kind).view(shape)


def _places(index: Bytes, told: Gaps, count: int, what: str) -> NDArray[np.intp]:
    """The places of the tiles among ``count``, ascending.

    Raises:
        SecateurError: there are not as many as told, or one lies beyond the last.
    """
    ends = ceil(told.tiles * told.low / 8)
    high = np.unpackbits(index[ends:], bitorder="little")
    if np.count_nonzero(high) != told.tiles:
        raise SecateurError(f"{what}: it has {np.count_nonzero(high)} gaps but {told.tiles} tiles")
    quotients = np.diff(np.flatnonzero(high), prepend=-1) - 1
    low = np.unpackbits(index[:ends], bitorder="little", count=told.tiles * told.low).reshape(told.tiles, told.low)
    rests = low @ (1 << np.arange(told.low, dtype=np.int64))
    # Added up as Python's numbers: those of a file may be beyond 64 bits.
    if (int(quotients.sum()) << told.low) + int(rests.sum()) + told.tiles > count:
        raise SecateurError(f"{what}: its gaps lead beyond the last of its {count} tiles")
    return np.cumsum((quotients << told.low) + rests + 1) - 1


def _boxed(flat: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Values in the order of a tensor as its box."""
    first, places, last = box(shape)
    return flat.reshape(first, last, places).transpose(0, 2, 1)


def _doubled(mask: NDArray[np.bool_], told: Gaps) -> list[tuple[NDArray[np.bool_], tuple[int, int]]]:
    """The masks of tiles of twice the rows and of twice the columns, with their sides."""
    sides = (_ROWS, (2 * told.rows, told.columns)), (_COLUMNS, (told.rows, 2 * told.columns))
    small = told.rows * told.columns < MOST_TILE
    return [(_halved(mask, axis), both) for axis, both in sides if small and mask.shape[axis] > 1]


def _halved(mask: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Where either of two neighbours along an axis is set; the last of an odd number is alone."""
    even, odd = (mask[(slice(None),) * axis + (slice(start, None, 2),)] for start in (0, 1))
    found = even.copy()
    found[(slice(None),) * axis + (slice(odd.shape[axis]),)] |= odd
    return found


def _coded(mask: NDArray[np.bool_], rows: int, columns: int) -> Gaps:
    """The shortest code of a mask of tiles."""
    at = np.flatnonzero(mask)
    gaps, count = np.diff(at, prepend=-1) - 1, len(at)
    codes = (Gaps(rows, columns, count, low, ceil((count + int((gaps >> low).sum())) / 8))
             for low in range(max((mask.size // max(count, 1)).bit_length(), 1)))
    return min(codes, key=lambda one: one.index)


def _split(whole: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """The values of a box as tiles, ``(tiles, rows, columns)``."""
    first, places, last = whole.shape
    padded = np.pad(whole, ((0, -first % rows), (0, 0), (0, -last % columns)))
    split = padded.reshape(padded.shape[0] // rows, rows, places, padded.shape[2] // columns, columns)
    return split.transpose(0, 2, 3, 1, 4).reshape(padded.size // (rows * columns), rows, columns)
