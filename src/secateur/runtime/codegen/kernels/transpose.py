"""Entry and exit of a program: batch-first rows in memory to feature-major tiles, and back.

Rows past the end of the batch repeat its last row, on the way in and on the way out, so that no lane
holds anything foreign and no branch depends on the count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from secateur.runtime.codegen.ir import F32, I64, PTR, WORD, Emit, vector
from secateur.runtime.codegen.kernels.base import Kernel, KernelWriter, add_flag

_COPIED = 16
"""Values that a copy of one row moves at a time."""


def _transpose(e: Emit, rows: list[Any]) -> list[Any]:
    """The transposed square of registers: blocks of 1, 2, 4, ... lanes swap places."""
    count, size = len(rows), 1
    while size < count:
        low = [k if not k & size else count + k - size for k in range(count)]
        high = [k + size if not k & size else count + k for k in range(count)]
        for i in range(count):
            if not i & size:
                a, b = rows[i], rows[i + size]
                rows[i], rows[i + size] = e.shuffle(a, b, low), e.shuffle(a, b, high)
        size *= 2
    return rows


class _Mover(KernelWriter):
    """What both directions share; words of a step: function, external pointer, features, place in the arena."""

    spec: Tile
    inward: bool

    def write(self) -> str:
        e, lanes = self.e, self.spec.lanes
        self.features, self.tile = self.word(2), self.place(3)
        self.memory = e.b.inttoptr(e.load(e.at(self.external, e.times(self.word(1), WORD)), I64), PTR)
        self.start_flag(lanes)
        if self.spec.width == 1:
            return self._copy()
        blocks = e.b.sdiv(e.b.add(self.features, e.i(lanes - 1)), e.i(lanes))
        for tile in range(self.spec.tiles):
            rows = [self._row(tile * lanes + r) for r in range(lanes)]
            narrow = e.b.icmp_signed("<", self.features, e.i(lanes))
            with e.b.if_else(narrow) as (few, many):
                with few, self.first_part():
                    self.edge(rows, tile)
                with many, e.loop(self.part, blocks, self.parts) as block:
                    # The last block begins earlier, so that it is full and no lane needs a mask.
                    start = e.minimum(e.times(block, lanes), e.b.sub(self.features, e.i(lanes)))
                    self.full(rows, start, tile)
        return self.close()

    def _copy(self) -> str:
        """One row of the batch, in or out, by the first part alone."""
        e = self.e
        with self.first_part():
            memory = e.at(self.memory, e.times(e.b.mul(self.first, self.features), 4))
            source, target = (memory, self.tile) if self.inward else (self.tile, memory)
            flag, total = e.var(e.const(0.0, _COPIED)), e.times(self.features, 4)
            whole = e.b.and_(total, e.i(-4 * _COPIED))
            with e.loop(0, whole, 4 * _COPIED) as offset:
                value = e.load(e.at(source, offset), vector(_COPIED))
                e.set(flag, e.fma(value, e.const(0.0, _COPIED), e.get(flag)))
                e.store(value, e.at(target, offset))
            rest = e.var(e.scalar(0.0))
            with e.loop(whole, total, 4) as offset:
                one = e.load(e.at(source, offset), F32)
                e.set(rest, e.fma(one, e.scalar(0.0), e.get(rest)))
                e.store(one, e.at(target, offset))
            if self.inward:
                e.store(e.scalar(0.0), e.at(target, total))
                add_flag(e, self.arena, e.b.fadd(e.get(flag), e.splat(e.get(rest), _COPIED)))
        return e.finish()

    def _row(self, index: int) -> Any:
        e = self.e
        row = e.b.add(self.first, e.minimum(e.i(index), e.b.sub(self.valid, e.i(1))))
        return e.at(self.memory, e.times(e.b.mul(row, self.features), 4))

    def register(self, feature: Any, tile: int) -> Any:
        """Where a feature's register lies in the tile."""
        e = self.e
        return e.at(self.tile, e.b.add(e.times(feature, self.spec.width * 4), e.i(tile * self.spec.lanes * 4)))

    def edge(self, rows: list[Any], tile: int) -> None:
        """Move fewer features than a register has lanes."""
        raise NotImplementedError

    def full(self, rows: list[Any], start: Any, tile: int) -> None:
        """Move as many features as a register has lanes."""
        raise NotImplementedError

    def close(self) -> str:
        """Write what is left to do at the end."""
        return self.e.finish()


class _EnterWriter(_Mover):
    inward = True

    def edge(self, rows: list[Any], tile: int) -> None:
        e, lanes = self.e, self.spec.lanes
        mask = e.lanes_below(self.features, lanes)
        for feature, value in enumerate(_transpose(e, [e.read(row, lanes, mask, self.zero) for row in rows])):
            with e.b.if_then(e.b.icmp_signed("<", e.i(feature), self.features)):
                self._put(value, e.i(feature), tile)

    def full(self, rows: list[Any], start: Any, tile: int) -> None:
        e, lanes = self.e, self.spec.lanes
        offset = e.times(start, 4)
        for k, value in enumerate(_transpose(e, [e.load(e.at(row, offset), vector(lanes)) for row in rows])):
            self._put(value, e.b.add(start, e.i(k)), tile)

    def _put(self, value: Any, feature: Any, tile: int) -> None:
        self.check(value)
        self.e.store(value, self.register(feature, tile))

    def close(self) -> str:
        with self.first_part():
            for tile in range(self.spec.tiles):
                self.e.store(self.zero, self.register(self.features, tile))
        return self.finish()


class _LeaveWriter(_Mover):
    inward = False

    def edge(self, rows: list[Any], tile: int) -> None:
        e, lanes = self.e, self.spec.lanes
        last = e.b.sub(self.features, e.i(1))
        values = [e.load(self.register(e.minimum(e.i(k), last), tile), vector(lanes)) for k in range(lanes)]
        mask = e.lanes_below(self.features, lanes)
        for row, value in zip(rows, _transpose(e, values), strict=True):
            e.store(value, row, mask)

    def full(self, rows: list[Any], start: Any, tile: int) -> None:
        e, lanes = self.e, self.spec.lanes
        offset = e.times(start, 4)
        values = [e.load(self.register(e.b.add(start, e.i(k)), tile), vector(lanes)) for k in range(lanes)]
        for row, value in zip(rows, _transpose(e, values), strict=True):
            e.store(value, e.at(row, offset))


@dataclass(frozen=True)
class Tile(Kernel):
    """What both directions know: vectors of ``lanes`` batch rows, ``tiles`` of them side by side."""

    lanes: int
    tiles: int

    @property
    def width(self) -> int:
        """Batch rows in a tile."""
        return self.lanes * self.tiles


@dataclass(frozen=True)
class Enter(Tile):
    """Batch-first rows to a tile, a row of zeros behind it."""

    writer = _EnterWriter


@dataclass(frozen=True)
class Leave(Tile):
    """A tile to batch-first rows."""

    writer = _LeaveWriter
