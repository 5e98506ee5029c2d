"""The program of a segment for one width of tile: steps with packed weights, and the arena that they work in."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.runtime.codegen import jit
from secateur.runtime.codegen.isa import Isa
from secateur.runtime.codegen.kernels.base import FLAG_BYTES
from secateur.runtime.ops import Segment, Value
from secateur.runtime.packing.pack import Packed

MAX_THREADS = 64
"""Threads that may share a tile; each has a flag at the start of the arena."""
HEAD = MAX_THREADS * FLAG_BYTES
"""Bytes of the flags, behind which values lie."""
STEP_WORDS = 16
"""Words of a step: the address of its kernel, and up to 15 that the kernel reads."""


@dataclass(eq=False)
class KernelStep:
    """One call of a kernel: the kernel, the words that it reads, and the arrays that the words point to."""

    spec: Any
    words: list[int]
    label: str
    packed: Packed | None = None
    bias: NDArray[np.float32] | None = None
    kernel: str = ""
    kept: Sequence[NDArray[np.float32]] = ()
    refused: tuple[tuple[str, str], ...] = ()
    output: Value | None = None

    @property
    def bytes(self) -> int:
        """Bytes of packed weights."""
        return 0 if self.packed is None else self.packed.bytes


@dataclass(eq=False)
class TileProgram:
    """The steps for tiles of ``width`` rows of the batch; ``free`` are the seats that no call uses now."""

    segment: Segment
    width: int
    steps: list[KernelStep]
    arena_bytes: int
    isa: Isa
    free: dict[tuple[int, bool], list[Any]] = field(default_factory=dict)

    @cached_property
    def words(self) -> NDArray[np.int64]:
        """The words of all steps, each behind the address of its kernel, which is compiled or loaded now."""
        table = np.zeros((max(1, len(self.steps)), STEP_WORDS), np.int64)
        for row, step in zip(table, self.steps, strict=False):
            row[0] = jit.address(step.spec, self.isa)
            row[1:1 + len(step.words)] = step.words
        return table

    @property
    def bytes(self) -> int:
        """Bytes of packed weights."""
        return sum(step.bytes for step in self.steps)


def round_up(size: int, unit: int = 64) -> int:
    """The smallest multiple of ``unit`` that is at least ``size``; 64 bytes are a line of the cache."""
    return -(-size // unit) * unit


def aligned_zeros(size: int, to: int = 4096) -> NDArray[np.uint8]:
    """Zeroed bytes that start at a multiple of ``to``, by default of a page."""
    raw = np.zeros(size + to, np.uint8)
    start = -raw.ctypes.data % to
    return raw[start:start + size]


def place(sizes: dict[Value, int], lives: dict[Value, tuple[int, int]]) -> tuple[dict[Value, int], int]:
    """The offset of every value in the arena, in bytes, and the end of all; values that live at once do not overlap.

    First fit, in the order in which values begin to live.

    >>> a, b, c = Value(0, (1,)), Value(1, (1,)), Value(2, (1,))
    >>> place({a: 64, b: 64, c: 64}, {a: (0, 1), b: (1, 2), c: (2, 3)})[1] - HEAD
    128
    """
    placed: list[tuple[int, int, int, int]] = []
    offsets: dict[Value, int] = {}
    for value in sorted(sizes, key=lambda v: (lives[v][0], v.id)):
        start, stop = lives[value]
        offset = HEAD
        for low, high, since, until in sorted(placed):
            if since <= stop and start <= until and offset < high and low < offset + sizes[value]:
                offset = high
        placed.append((offset, offset + sizes[value], start, stop))
        offsets[value] = offset
    return offsets, max((high for _, high, _, _ in placed), default=HEAD)


def lives_of(segment: Segment, alias: dict[Value, Value]) -> dict[Value, tuple[int, int]]:
    """The first and the last operator of every value's life, as indices; a value and its aliases live as one."""
    born = {alias.get(v, v): -1 for v in segment.inputs}
    dies = dict(born)
    for index, op in enumerate(segment.ops):
        for value in op.inputs:
            dies[alias.get(value, value)] = index
        home = alias.get(op.output, op.output)
        born.setdefault(home, index)
        dies[home] = max(dies.get(home, index), index)
    for value in segment.outputs:
        dies[alias.get(value, value)] = len(segment.ops)
    return {v: (born[v], dies[v]) for v in born}


def pointer(array: NDArray[Any] | None) -> int:
    """The address of an array's data, 0 for none."""
    return 0 if array is None else int(array.ctypes.data_as(ctypes.c_void_p).value or 0)
