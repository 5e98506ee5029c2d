"""Operators on channel-major values: element-wise with strides, borders of zeros, pooling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from secateur.runtime.codegen.ir import F32, I32, I64, VOID, Emit, vector
from secateur.runtime.codegen.isa import Isa
from secateur.runtime.codegen.kernels import activation
from secateur.runtime.codegen.kernels.pointwise import combine
from secateur.runtime.codegen.kernels.spmm import add_flag


@dataclass(frozen=True)
class Planes:
    """``out = act(a)`` or ``act(a + b)`` on values whose rows lie apart; also copies into padded values.

    ``kind`` says which of ``add``, ``sub``, ``mul``, ``div`` joins two; ``single`` which inputs have one register
    a plane, for all its positions. ``ragged``: a position is one value, and rows need not fill registers.

    Words of a step: function, out, planes, rows, bytes a row, bytes between planes and rows of out, place of
    the zeros behind the output (or 0), then for each input its place and the bytes between planes and rows.
    """

    lanes: int
    inputs: int
    act: str
    kind: str = "add"
    single: tuple[int, ...] = ()
    ragged: bool = False

    def text(self, name: str, isa: Isa) -> str:
        """The kernel's IR."""
        del isa
        e = Emit(name)
        word = [e.word(e.args[0], k) for k in range(8 + 3 * self.inputs)]
        zero = e.const(0.0, self.lanes)
        flag = e.var(zero)
        with e.loop(e.args[5], word[2], e.args[6]) as plane, e.loop(0, word[3]) as row:
            def start(base: int, steps: int, plane: Any = plane, row: Any = row) -> Any:
                offset = e.b.add(e.b.mul(plane, word[steps]), e.b.mul(row, word[steps + 1]))
                return e.at(e.args[1], e.b.add(word[base], offset))

            out, sources = start(1, 5), [start(8 + 3 * k, 9 + 3 * k) for k in range(self.inputs)]
            def register(offset: Any, mask: Any, out: Any = out, sources: Any = sources) -> None:
                values = [self._value(e, source, k, offset, mask) for k, source in enumerate(sources)]
                value = values[0] if self.inputs == 1 else combine(e, self.kind, *values)
                e.set(flag, e.fma(value, zero, e.get(flag)))
                put(e, activation.emit(e, self.act, value), e.at(out, offset), mask)

            registers(e, word[4], self.lanes, self.ragged, register)
        zeros_behind(e, word[7], self.lanes)
        add_flag(e, e.at(e.args[1], e.b.mul(e.args[5], e.i(64))), e.get(flag))
        return e.finish()


    def _value(self, e: Emit, source: Any, index: int, offset: Any, mask: Any) -> Any:
        """One input at an offset in its row; one value for all positions where it is single."""
        if index not in self.single:
            return take(e, e.at(source, offset), self.lanes, mask)
        return e.splat(e.load(source, F32), self.lanes) if self.ragged else e.load(source, vector(self.lanes))


def registers(e: Emit, size: Any, lanes: int, ragged: bool, body: Callable[[Any, Any], None]) -> None:
    """``body(offset, mask)`` for every register of a row of ``size`` bytes; a partly filled one has a mask."""
    whole = e.b.and_(size, e.i(-4 * lanes)) if ragged else size
    with e.loop(0, whole, 4 * lanes) as offset:
        body(offset, None)
    if ragged:
        with e.b.if_then(e.b.icmp_signed("<", whole, size)):
            steps = ir.Constant(ir.VectorType(I64, lanes), [4 * k for k in range(lanes)])
            body(whole, e.b.icmp_signed("<", steps, e.splat(e.b.sub(size, whole), lanes)))


def take(e: Emit, place: Any, lanes: int, mask: Any) -> Any:
    """A register from memory, ones where the mask has holes."""
    if mask is None:
        return e.load(place, vector(lanes))
    return e.call(f"llvm.masked.load.v{lanes}f32.p0", vector(lanes), [place, ir.Constant(I32, 4), mask,
                                                                     e.const(1.0, lanes)])


def put(e: Emit, value: Any, place: Any, mask: Any) -> None:
    """A register to memory, but for the holes of the mask."""
    if mask is None:
        e.store(value, place)
    else:
        e.call(f"llvm.masked.store.v{value.type.count}f32.p0", VOID, [value, place, ir.Constant(I32, 4), mask])


def zeros_behind(e: Emit, place: Any, lanes: int, tiles: int = 1) -> None:
    """``tiles`` registers of zeros at a place of the arena, unless the place is 0; by the first part alone."""
    wanted = e.b.and_(e.b.icmp_signed("!=", place, e.i(0)), e.b.icmp_signed("==", e.args[5], e.i(0)))
    with e.b.if_then(wanted):
        for tile in range(tiles):
            e.store(e.const(0.0, lanes), e.at(e.at(e.args[1], place), tile * lanes * 4))


@dataclass(frozen=True)
class Border:
    """Zeros around every plane of a padded value.

    Words of a step: function, out, planes, rows and columns of the padded plane, padding of rows and columns.
    """

    lanes: int

    def text(self, name: str, isa: Isa) -> str:
        """The kernel's IR."""
        del isa
        e = Emit(name)
        base, planes, rows, columns, pad_rows, pad_columns = (e.word(e.args[0], k) for k in range(1, 7))
        size = e.i(4 * self.lanes)
        line, zero = e.b.mul(columns, size), e.const(0.0, self.lanes)
        with e.loop(e.args[5], planes, e.args[6]) as plane:
            start = e.at(e.args[1], e.b.add(base, e.b.mul(plane, e.b.mul(rows, line))))
            for low, high in ((e.i(0), pad_rows), (e.b.sub(rows, pad_rows), rows)):
                with e.loop(e.b.mul(low, line), e.b.mul(high, line), size) as offset:
                    e.store(zero, e.at(start, offset))
            with e.loop(pad_rows, e.b.sub(rows, pad_rows)) as row:
                begin = e.at(start, e.b.mul(row, line))
                for low, high in ((e.i(0), pad_columns), (e.b.sub(columns, pad_columns), columns)):
                    with e.loop(e.b.mul(low, size), e.b.mul(high, size), size) as offset:
                        e.store(zero, e.at(begin, offset))
        return e.finish()


@dataclass(frozen=True)
class Pool:
    """Max or average over windows; windows are cut at the edge of the plane, averages divide as torch's do.

    Words of a step: function, in, out, planes, rows and columns of the input, rows and columns of the
    output, bytes between planes and rows of the input, of the output, place of the zeros behind it (or 0).
    """

    lanes: int
    kind: str
    window: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    with_padding: bool
    divisor: int = 0

    def text(self, name: str, isa: Isa) -> str:
        """The kernel's IR."""
        del isa
        return _PoolWriter(self, Emit(name)).write()


class _PoolWriter:
    def __init__(self, spec: Pool, e: Emit):
        self.spec, self.e = spec, e
        self.word = [e.word(e.args[0], k) for k in range(13)]

    def write(self) -> str:
        e, word, spec = self.e, self.word, self.spec
        with e.loop(e.args[5], word[3], e.args[6]) as plane, e.loop(0, word[6]) as row, e.loop(0, word[7]) as column:
            source = e.at(e.args[1], e.b.add(word[1], e.b.mul(plane, word[8])))
            rows, columns = self._span(row, 0, word[4]), self._span(column, 1, word[5])
            value = self._reduce(source, rows, columns)
            target = e.b.add(e.b.mul(plane, word[10]), e.b.mul(row, word[11]))
            target = e.b.add(target, e.b.mul(column, e.i(4 * spec.lanes)))
            e.store(value, e.at(e.args[1], e.b.add(word[2], target)))
        zeros_behind(e, word[12], spec.lanes)
        return e.finish()

    def _span(self, index: Any, axis: int, size: Any) -> tuple[Any, Any, Any, Any]:
        """Start and stop of a window within the plane, and within the padded plane."""
        e, spec = self.e, self.spec
        start = e.b.sub(e.b.mul(index, e.i(spec.stride[axis])), e.i(spec.padding[axis]))
        end = e.b.add(start, e.i(spec.window[axis]))
        inside = e.b.select(e.b.icmp_signed("<", start, e.i(0)), e.i(0), start)
        return inside, e.least(end, size), start, e.least(end, e.b.add(size, e.i(spec.padding[axis])))

    def _reduce(self, source: Any, rows: tuple[Any, ...], columns: tuple[Any, ...]) -> Any:
        e, spec = self.e, self.spec
        best = spec.kind == "max"
        total = e.var(e.const(float("-inf") if best else 0.0, spec.lanes))
        with e.loop(*rows[:2]) as row, e.loop(*columns[:2]) as column:
            offset = e.b.add(e.b.mul(row, self.word[9]), e.b.mul(column, e.i(4 * spec.lanes)))
            value, old = e.load(e.at(source, offset), vector(spec.lanes)), e.get(total)
            larger = e.b.fcmp_unordered(">", value, old)
            e.set(total, e.b.select(larger, value, old) if best else e.b.fadd(old, value))
        if best:
            return e.get(total)
        count = e.i(spec.divisor)
        if not spec.divisor:
            wide = [e.b.sub(*span[3:1:-1]) if spec.with_padding else e.b.sub(span[1], span[0])
                    for span in (rows, columns)]
            count = e.b.mul(*wide)
        return e.b.fdiv(e.get(total), e.splat(e.b.sitofp(count, vector(1).element), spec.lanes))
