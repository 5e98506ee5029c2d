"""A segment for one width of tile: steps with packed weights, and the arena that they work in."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.runtime.codegen import jit
from secateur.runtime.codegen.isa import Isa
from secateur.runtime.ops import Segment, Value
from secateur.runtime.packing.pack import Packed

FLAGS = 64
"""Threads at most; each has a flag of 64 bytes at the start of the arena."""
HEAD = FLAGS * 64
STEP_WORDS = 16


@dataclass(eq=False)
class Step:
    """One kernel call: its specification, its words after the function, and the arrays behind them."""

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
class Program:
    """The steps for tiles of ``width`` rows of the batch."""

    segment: Segment
    width: int
    steps: list[Step]
    arena_bytes: int
    isa: Isa
    free: dict[tuple[int, bool], list[Any]] = field(default_factory=dict)

    def words(self) -> NDArray[np.int64]:
        """The step words, kernels' addresses first."""
        table = np.zeros((max(1, len(self.steps)), STEP_WORDS), np.int64)
        for row, step in zip(table, self.steps, strict=False):
            row[0] = jit.address(step.spec, self.isa)
            row[1:1 + len(step.words)] = step.words
        return table

    def load(self) -> NDArray[np.int64]:
        """The step words, made once."""
        if not hasattr(self, "_words"):
            self._words = self.words()
        return self._words

    @property
    def bytes(self) -> int:
        """Bytes of packed weights."""
        return sum(step.bytes for step in self.steps)


def aligned(size: int, to: int = 4096) -> NDArray[np.uint8]:
    """Zeroed bytes that start at a multiple of ``to``."""
    raw = np.zeros(size + to, np.uint8)
    start = -raw.ctypes.data % to
    return raw[start:start + size]


def place(sizes: dict[Value, int], lives: dict[Value, tuple[int, int]]) -> tuple[dict[Value, int], int]:
    """An offset for every value such that values alive at the same time do not overlap, and the end of all.

    >>> a, b, c = Value(0, (1,)), Value(1, (1,)), Value(2, (1,))
    >>> place({a: 64, b: 64, c: 64}, {a: (0, 1), b: (1, 2), c: (2, 3)})[1] - HEAD
    128
    """
    taken: list[tuple[int, int, int, int]] = []
    offsets: dict[Value, int] = {}
    for value in sorted(sizes, key=lambda v: (lives[v][0], v.id)):
        start, stop = lives[value]
        offset = HEAD
        for low, high, since, until in sorted(taken):
            if since <= stop and start <= until and offset < high and low < offset + sizes[value]:
                offset = high
        taken.append((offset, offset + sizes[value], start, stop))
        offsets[value] = offset
    return offsets, max((high for _, high, _, _ in taken), default=HEAD)


def lives_of(segment: Segment, alias: dict[Value, Value]) -> dict[Value, tuple[int, int]]:
    """From which operator to which every value must be kept; aliases live as one."""
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
