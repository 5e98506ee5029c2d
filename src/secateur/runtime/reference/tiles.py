"""The arena as numpy sees it, the flag, and the way of a tile in and out: twins of ``kernels/transpose.py``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from secateur.runtime.schedule.program import KernelStep

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


def view(arena: Bytes, offset: int, count: int) -> Floats:
    """``count`` f32 values of the arena."""
    return arena[offset:offset + 4 * count].view(np.float32)


def tile(arena: Bytes, offset: int, features: int, width: int) -> Floats:
    """A value of the arena: ``(features, width)``."""
    return view(arena, offset, features * width).reshape(features, width)


def floats_at(address: int, count: int) -> Floats:
    """``count`` f32 values at an address."""
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address))


def set_flag(arena: Bytes, values: Floats) -> None:
    """Set the flag where a value is NaN or infinite."""
    if not np.isfinite(values).all():
        view(arena, 0, 16)[:] = np.nan


def write_zeros(arena: Bytes, place: int, lanes: int) -> None:
    """Zeros behind a value, if it has a place for them."""
    if place:
        view(arena, place, lanes)[:] = 0


def enter(step: KernelStep, arena: Bytes, arrays: Sequence[Floats], first: int, valid: int) -> None:
    """Rows of the batch to a tile; rows past the end repeat the last."""
    index, features, offset = step.words
    width = step.spec.width
    rows = first + np.minimum(np.arange(width), valid - 1)
    inside = tile(arena, offset, features + 1, width)
    inside[:features] = arrays[index].reshape(-1, features)[rows].T
    inside[features] = 0
    set_flag(arena, inside)


def leave(step: KernelStep, arena: Bytes, arrays: Sequence[Floats], first: int, valid: int) -> None:
    """A tile to rows of the batch."""
    index, features, offset = step.words
    inside = tile(arena, offset, features, step.spec.width)
    arrays[index].reshape(-1, features)[first:first + valid] = inside.T[:valid]
