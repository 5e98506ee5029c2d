"""Operators on channel-major values: element-wise with strides, borders of zeros, pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from secateur.runtime.codegen.ir import F32, vector
from secateur.runtime.codegen.kernels import activation
from secateur.runtime.codegen.kernels.base import Kernel, KernelWriter
from secateur.runtime.codegen.kernels.pointwise import combine


class PlaneWriter(KernelWriter):
    """What kernels on planes share: where a row lies, and the way along it, register by register."""

    def row(self, start: Any, strides: Sequence[Any], plane: Any, row: Any) -> Any:
        """The place of a row of a value; ``strides`` are the bytes between planes and between rows."""
        e = self.e
        return e.at(self.arena, e.b.add(start, e.b.add(e.b.mul(plane, strides[0]), e.b.mul(row, strides[1]))))

    def registers(self, size: Any, body: Callable[[Any, Any], None]) -> None:
        """``body(offset, mask)`` for every register of a row of ``size`` bytes; a partly filled one has a mask."""
        e, lanes, ragged = self.e, self.spec.lanes, self.spec.ragged
        whole = e.b.and_(size, e.i(-4 * lanes)) if ragged else size
        with e.loop(0, whole, 4 * lanes) as offset:
            body(offset, None)
        if ragged:
            with e.b.if_then(e.b.icmp_signed("<", whole, size)):
                body(whole, e.lanes_below(e.b.sub(size, whole), lanes, 4))

    def load(self, place: Any, mask: Any) -> Any:
        """A register from memory; ones where the mask has holes, so that no quotient of them is NaN."""
        return self.e.read(place, self.spec.lanes, mask, self.e.const(1.0, self.spec.lanes))


class _PlanesWriter(PlaneWriter):
    spec: Planes

    def write(self) -> str:
        e, spec = self.e, self.spec
        words = [self.word(k) for k in range(8 + 3 * spec.inputs)]
        self.start_flag(spec.lanes)
        with e.loop(self.part, words[2], self.parts) as plane, e.loop(0, words[3]) as row:
            out, *sources = (self.row(words[k], words[stride:], plane, row)
                             for k, stride in ((1, 5), *((8 + 3 * n, 9 + 3 * n) for n in range(spec.inputs))))

            def register(offset: Any, mask: Any, out: Any = out, sources: Any = sources) -> None:
                values = [self._value(source, k, offset, mask) for k, source in enumerate(sources)]
                value = values[0] if spec.inputs == 1 else combine(e, spec.kind, *values)
                self.check(value)
                e.store(activation.emit(e, spec.act, value), e.at(out, offset), mask)

            self.registers(words[4], register)
        self.zeros_behind(words[7], spec.lanes)
        return self.finish()

    def _value(self, source: Any, index: int, offset: Any, mask: Any) -> Any:
        """One input at an offset in its row; one value for all positions where it is single."""
        e, spec = self.e, self.spec
        if index not in spec.single:
            return self.load(e.at(source, offset), mask)
        return e.splat(e.load(source, F32), spec.lanes) if spec.ragged else e.load(source, vector(spec.lanes))


@dataclass(frozen=True)
class Planes(Kernel):
    """``out = act(a)`` or ``act(a + b)`` on values whose rows lie apart; also copies into padded values.

    ``kind`` says which of ``add``, ``sub``, ``mul``, ``div`` combines two inputs; ``single`` which inputs have one
    register a plane, for all its positions. ``ragged``: a position is one value, and rows need not fill registers.

    Words of a step: function, out, planes, rows, bytes a row, bytes between planes and rows of out, place of
    the zeros behind the output (or 0), then for each input its place and the bytes between planes and rows.
    """

    lanes: int
    inputs: int
    act: str
    kind: str = "add"
    single: tuple[int, ...] = ()
    ragged: bool = False

    writer = _PlanesWriter


class _BorderWriter(KernelWriter):
    spec: Border

    def write(self) -> str:
        e = self.e
        base, planes, rows, columns, pad_rows, pad_columns = (self.word(k) for k in range(1, 7))
        size = e.i(4 * self.spec.lanes)
        line, zero = e.b.mul(columns, size), e.const(0.0, self.spec.lanes)
        with e.loop(self.part, planes, self.parts) as plane:
            start = e.at(self.arena, e.b.add(base, e.b.mul(plane, e.b.mul(rows, line))))
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
class Border(Kernel):
    """Zeros around every plane of a padded value.

    Words of a step: function, out, planes, rows and columns of the padded plane, padding of rows and columns.
    """

    lanes: int

    writer = _BorderWriter


class PoolWriter(PlaneWriter):
    """What both kernels of pooling share: the reduction over a window."""

    def reduce(self, rows: Sequence[Any], columns: Sequence[Any], at: Callable[[Any, Any], Any]) -> Any:
        """The maximum or the sum of ``at(row, column)`` over a window from row ``rows[0]`` to before ``rows[1]``."""
        e, lanes, largest = self.e, self.spec.lanes, self.spec.kind == "max"
        total = e.var(e.const(float("-inf") if largest else 0.0, lanes))
        with e.loop(*rows[:2]) as row, e.loop(*columns[:2]) as column:
            value, old = at(row, column), e.get(total)
            larger = e.b.fcmp_unordered(">", value, old)
            e.set(total, e.b.select(larger, value, old) if largest else e.b.fadd(old, value))
        return e.get(total)


class _PoolWriter(PoolWriter):
    spec: Pool

    def write(self) -> str:
        e, spec = self.e, self.spec
        words = self.words = [self.word(k) for k in range(13)]
        with (e.loop(self.part, words[3], self.parts) as plane, e.loop(0, words[6]) as row,
              e.loop(0, words[7]) as column):
            source = e.at(self.arena, e.b.add(words[1], e.b.mul(plane, words[8])))
            value = self._window(source, self._span(row, 0, words[4]), self._span(column, 1, words[5]))
            target = e.b.add(e.b.mul(plane, words[10]), e.b.mul(row, words[11]))
            target = e.b.add(target, e.times(column, 4 * spec.lanes))
            e.store(value, e.at(self.arena, e.b.add(words[2], target)))
        self.zeros_behind(words[12], spec.lanes)
        return e.finish()

    def _span(self, index: Any, axis: int, size: Any) -> tuple[Any, Any, Any, Any]:
        """Start and stop of a window within the plane, and within the padded plane."""
        e, spec = self.e, self.spec
        start = e.b.sub(e.times(index, spec.stride[axis]), e.i(spec.padding[axis]))
        end = e.b.add(start, e.i(spec.window[axis]))
        inside = e.b.select(e.b.icmp_signed("<", start, e.i(0)), e.i(0), start)
        return inside, e.minimum(end, size), start, e.minimum(end, e.b.add(size, e.i(spec.padding[axis])))

    def _window(self, source: Any, rows: tuple[Any, ...], columns: tuple[Any, ...]) -> Any:
        """The maximum or average of a window, from where its plane begins."""
        e, spec = self.e, self.spec

        def at(row: Any, column: Any) -> Any:
            offset = e.b.add(e.b.mul(row, self.words[9]), e.times(column, 4 * spec.lanes))
            return e.load(e.at(source, offset), vector(spec.lanes))

        total = self.reduce(rows, columns, at)
        if spec.kind == "max":
            return total
        count = e.i(spec.divisor)
        if not spec.divisor:
            wide = [e.b.sub(*span[3:1:-1]) if spec.with_padding else e.b.sub(span[1], span[0])
                    for span in (rows, columns)]
            count = e.b.mul(*wide)
        return e.b.fdiv(total, e.splat(e.b.sitofp(count, F32), spec.lanes))


@dataclass(frozen=True)
class Pool(Kernel):
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

    writer = _PoolWriter
