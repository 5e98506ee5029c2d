"""Entry and exit of a plan: batch-first rows in memory to feature-major tiles, and back.

Rows past the end of the batch repeat its last row, on the way in and on the way out, so that no lane
holds anything foreign and no branch depends on the count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from secateur.runtime.codegen.ir import F32, I32, I64, VOID, Emit, vector
from secateur.runtime.codegen.isa import Isa
from secateur.runtime.codegen.kernels.spmm import add_flag


def transpose(e: Emit, rows: list[Any]) -> list[Any]:
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


class _Mover:
    """What both directions share; words of a step: function, external pointer, features, place in the arena."""

    def __init__(self, spec: Enter | Leave, e: Emit):
        self.spec, self.e = spec, e
        self.step, self.arena, ext, self.first, self.valid, self.part, self.parts = e.args
        self.features = e.word(self.step, 2)
        self.tile = e.at(self.arena, e.word(self.step, 3))
        self.memory = e.b.inttoptr(e.load(e.at(ext, e.b.mul(e.word(self.step, 1), e.i(8))), I64), ir.PointerType())
        self.zero = e.const(0.0, spec.lanes)
        self.flag = e.var(self.zero)

    def write(self) -> str:
        e, lanes = self.e, self.spec.lanes
        blocks = e.b.sdiv(e.b.add(self.features, e.i(lanes - 1)), e.i(lanes))
        for tile in range(self.spec.tiles):
            rows = [self._row(tile * lanes + r) for r in range(lanes)]
            narrow = e.b.icmp_signed("<", self.features, e.i(lanes))
            with e.b.if_else(narrow) as (few, many):
                with few, e.b.if_then(e.b.icmp_signed("==", self.part, e.i(0))):
                    self.edge(rows, tile)
                with many, e.loop(self.part, blocks, self.parts) as block:
                    start = e.least(e.b.mul(block, e.i(lanes)), e.b.sub(self.features, e.i(lanes)))
                    self.full(rows, start, tile)
        self.close()
        return e.finish()

    def _row(self, index: int) -> Any:
        e = self.e
        row = e.b.add(self.first, e.least(e.i(index), e.b.sub(self.valid, e.i(1))))
        return e.at(self.memory, e.b.mul(e.b.mul(row, self.features), e.i(4)))

    def place(self, feature: Any, tile: int) -> Any:
        """Where a feature's register lies in the tile."""
        e = self.e
        return e.at(self.tile, e.b.add(e.b.mul(feature, e.i(self.spec.width * 4)), e.i(tile * self.spec.lanes * 4)))

    def mask(self) -> Any:
        """The lanes below the count of features."""
        lanes = self.spec.lanes
        steps = ir.Constant(ir.VectorType(I64, lanes), list(range(lanes)))
        return self.e.b.icmp_signed("<", steps, self.e.splat(self.features, lanes))

    def edge(self, rows: list[Any], tile: int) -> None:
        """Move fewer features than a register has lanes."""
        raise NotImplementedError

    def full(self, rows: list[Any], start: Any, tile: int) -> None:
        """Move as many features as a register has lanes."""
        raise NotImplementedError

    def close(self) -> None:
        """What is left to do at the end."""


class _Enter(_Mover):
    def edge(self, rows: list[Any], tile: int) -> None:
        e, lanes = self.e, self.spec.lanes
        name, mask = f"llvm.masked.load.v{lanes}f32.p0", self.mask()
        values = [e.call(name, vector(lanes), [row, ir.Constant(I32, 4), mask, self.zero]) for row in rows]
        for feature, value in enumerate(transpose(e, values)):
            with e.b.if_then(e.b.icmp_signed("<", e.i(feature), self.features)):
                self._put(value, e.i(feature), tile)

    def full(self, rows: list[Any], start: Any, tile: int) -> None:
        e, lanes = self.e, self.spec.lanes
        offset = e.b.mul(start, e.i(4))
        for k, value in enumerate(transpose(e, [e.load(e.at(row, offset), vector(lanes)) for row in rows])):
            self._put(value, e.b.add(start, e.i(k)), tile)

    def _put(self, value: Any, feature: Any, tile: int) -> None:
        e = self.e
        e.set(self.flag, e.fma(value, self.zero, e.get(self.flag)))
        e.store(value, self.place(feature, tile))

    def close(self) -> None:
        e = self.e
        with e.b.if_then(e.b.icmp_signed("==", self.part, e.i(0))):
            for tile in range(self.spec.tiles):
                e.store(self.zero, self.place(self.features, tile))
        add_flag(e, e.at(self.arena, e.b.mul(self.part, e.i(64))), e.get(self.flag))


class _Leave(_Mover):
    def edge(self, rows: list[Any], tile: int) -> None:
        e, lanes = self.e, self.spec.lanes
        last = e.b.sub(self.features, e.i(1))
        values = [e.load(self.place(e.least(e.i(k), last), tile), vector(lanes)) for k in range(lanes)]
        name, mask = f"llvm.masked.store.v{lanes}f32.p0", self.mask()
        for row, value in zip(rows, transpose(e, values), strict=True):
            e.call(name, VOID, [value, row, ir.Constant(I32, 4), mask])

    def full(self, rows: list[Any], start: Any, tile: int) -> None:
        e, lanes = self.e, self.spec.lanes
        offset = e.b.mul(start, e.i(4))
        values = [e.load(self.place(e.b.add(start, e.i(k)), tile), vector(lanes)) for k in range(lanes)]
        for row, value in zip(rows, transpose(e, values), strict=True):
            e.store(value, e.at(row, offset))


@dataclass(frozen=True)
class Tile:
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

    def text(self, name: str, isa: Isa) -> str:
        """The kernel's IR."""
        del isa
        e = Emit(name)
        return _copy(self, e) if self.width == 1 else _Enter(self, e).write()


@dataclass(frozen=True)
class Leave(Tile):
    """A tile to batch-first rows."""

    def text(self, name: str, isa: Isa) -> str:
        """The kernel's IR."""
        del isa
        e = Emit(name)
        return _copy(self, e) if self.width == 1 else _Leave(self, e).write()


def _copy(spec: Enter | Leave, e: Emit) -> str:
    """One row of the batch, in or out, by the first part alone."""
    inward = isinstance(spec, Enter)
    mover = _Mover(spec, e)
    with e.b.if_then(e.b.icmp_signed("==", mover.part, e.i(0))):
        memory = e.at(mover.memory, e.b.mul(e.b.mul(mover.first, mover.features), e.i(4)))
        source, target = (memory, mover.tile) if inward else (mover.tile, memory)
        _move(e, source, target, mover.features, inward)
    return e.finish()


def _move(e: Emit, source: Any, target: Any, features: Any, inward: bool) -> None:
    lanes = 16
    flag, total = e.var(e.const(0.0, lanes)), e.b.mul(features, e.i(4))
    whole = e.b.and_(total, e.i(-64))
    with e.loop(0, whole, 64) as offset:
        value = e.load(e.at(source, offset), vector(lanes))
        e.set(flag, e.fma(value, e.const(0.0, lanes), e.get(flag)))
        e.store(value, e.at(target, offset))
    rest = e.var(ir.Constant(F32, 0.0))
    with e.loop(whole, total, 4) as offset:
        one = e.load(e.at(source, offset), F32)
        e.set(rest, e.fma(one, ir.Constant(F32, 0.0), e.get(rest)))
        e.store(one, e.at(target, offset))
    if inward:
        e.store(ir.Constant(F32, 0.0), e.at(target, total))
        add_flag(e, e.args[1], e.b.fadd(e.get(flag), e.splat(e.get(rest), lanes)))

