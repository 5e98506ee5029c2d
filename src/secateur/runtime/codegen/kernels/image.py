"""Sparse convolution and pooling of one image: registers along the rows of the image, in place of the batch.

A value is padded planes of single values. A non-zero weight is an offset into them, as in
:mod:`~secateur.runtime.codegen.kernels.conv`; a register holds neighbours of one row, loaded from wherever they
start. ``down`` rows and ``across`` registers of a row share the weights. What lies behind the end of a
row is computed and not stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from secateur.runtime.codegen.ir import I1, I32, VOID, Emit, vector
from secateur.runtime.codegen.isa import Isa
from secateur.runtime.codegen.kernels.conv import PositionWriter
from secateur.runtime.codegen.kernels.gather import gather
from secateur.runtime.codegen.kernels.spmm import Chunked


@dataclass(frozen=True)
class ImageConv(Chunked):
    """The kernel ``out[channel, position] = act(bias[channel] + sum(weight * in[column + position]))``.

    Words of a step as those of :class:`~secateur.runtime.codegen.kernels.conv.Conv`. ``source_line`` and
    ``target_line`` are the bytes between rows, of the input those that follow each other in the output; ``tail``
    how many rows are left after whole tiles, ``ragged`` how many values the last register of a row has.
    """

    lanes: int
    across: int
    down: int
    rows: int
    grouped: bool
    stride: int
    tail: int
    chunks: int
    ragged: int
    source_line: int
    target_line: int
    bias: bool
    act: str
    permute: bool = False
    half: bool = False

    @property
    def unit(self) -> int:
        """Bytes that one step of a column's index means."""
        return 4

    @property
    def width(self) -> int:
        """Batch rows in a tile."""
        return 1

    @property
    def step(self) -> int:
        """Bytes between the inputs of neighbours in the output."""
        return 4 * self.stride

    @property
    def tiles(self) -> int:
        """Registers that share the weights."""
        return self.across * self.down

    def text(self, name: str, isa: Isa) -> str:
        """The kernel's IR."""
        del isa
        return _Conv(self, Emit(name)).write()


class _Conv(PositionWriter):
    spec: ImageConv

    def block(self, entry: Any) -> None:
        """One block of columns over all positions of the output."""
        e, spec = self.e, self.spec
        columns = e.at(self.source, e.word(entry, 0))
        whole = e.b.sub(e.word(self.step, 9), e.i(spec.tail))
        with e.loop(0, whole, spec.down) as row:
            self._lines(entry, columns, row, spec.down)
        if spec.tail:
            self._lines(entry, columns, whole, spec.tail)

    def _lines(self, entry: Any, columns: Any, row: Any, down: int) -> None:
        """``down`` rows of the output, in chunks of ``across`` registers."""
        e, spec = self.e, self.spec
        source, self.line = e.at(columns, e.b.mul(row, e.i(spec.source_line))), e.b.mul(row, e.i(spec.target_line))
        self.tiles = down * spec.across
        with e.loop(0, spec.chunks - 1) as chunk:
            self._chunk(entry, source, chunk, 0)
        self._chunk(entry, source, e.i(spec.chunks - 1), spec.ragged)

    def _chunk(self, entry: Any, source: Any, chunk: Any, ragged: int) -> None:
        e, spec = self.e, self.spec
        place = e.b.mul(chunk, e.i(spec.across * spec.lanes * 4))
        self.shift, self.ragged = e.b.add(self.line, place), ragged
        self.groups(entry, e.at(source, e.b.mul(place, e.i(spec.stride))))

    def offset(self, tile: int) -> int:
        """Bytes from the first register of the output to another."""
        row, column = divmod(tile, self.spec.across)
        return row * self.spec.target_line + column * self.spec.lanes * 4

    def _partial(self, tile: int) -> Any:
        """The lanes of a register that are stored, or None for all."""
        if not self.ragged or tile % self.spec.across < self.spec.across - 1:
            return None
        lanes = self.spec.lanes
        return ir.Constant(ir.VectorType(I1, lanes), [k < self.ragged for k in range(lanes)])

    def keep(self, value: Any, place: Any, tile: int) -> None:
        """Store the sums of a register, but for what lies behind the end of the row."""
        e, mask = self.e, self._partial(tile)
        if mask is None:
            e.store(value, place)
        else:
            e.call(f"llvm.masked.store.v{self.spec.lanes}f32.p0", VOID, [value, place, ir.Constant(I32, 4), mask])

    def watch(self, value: Any, tile: int) -> None:
        """Flag NaN and infinity in what is stored."""
        mask = self._partial(tile)
        super().watch(value if mask is None else self.e.b.select(mask, value, self.zero), tile)

    def inputs(self, column: Any) -> list[Any]:
        """The inputs of every register; with strides, every so many of those that lie there."""
        e, spec = self.e, self.spec
        found = []
        for tile in range(self.tiles):
            row, place = divmod(tile, spec.across)
            first = e.at(column, row * spec.source_line + place * spec.lanes * 4 * spec.stride)
            found.append(strided(e, first, spec.lanes, spec.stride))
        return found


def strided(e: Emit, first: Any, lanes: int, stride: int) -> Any:
    """``lanes`` values that lie ``stride`` values apart, for strides of 1 and 2."""
    low = e.load(first, vector(lanes))
    if stride == 1:
        return low
    return e.shuffle(low, e.load(e.at(first, 4 * lanes), vector(lanes)), range(0, 2 * lanes, 2))


@dataclass(frozen=True)
class ImagePool:
    """Max or average over windows of one image that all lie inside it; registers along the rows of the output.

    Words of a step as those of :class:`~secateur.runtime.codegen.kernels.planes.Pool`; ``line`` are the bytes between
    rows of the input.
    """

    lanes: int
    kind: str
    window: tuple[int, int]
    stride: tuple[int, int]

    def text(self, name: str, isa: Isa) -> str:
        """The kernel's IR."""
        return _Pool(self, Emit(name), isa).write()


class _Pool:
    def __init__(self, spec: ImagePool, e: Emit, isa: Isa):
        self.spec, self.e, self.isa = spec, e, isa
        self.word = [e.word(e.args[0], k) for k in range(13)]

    def write(self) -> str:
        e, word, lanes = self.e, self.word, self.spec.lanes
        kind = ir.VectorType(I32, lanes)
        self.steps = ir.Constant(kind, [k * self.spec.stride[1] for k in range(lanes)])
        with e.loop(e.args[5], word[3], e.args[6]) as plane, e.loop(0, word[6]) as row:
            top = e.b.mul(row, e.b.mul(e.i(self.spec.stride[0]), word[9]))
            source = e.at(e.args[1], e.b.add(word[1], e.b.add(e.b.mul(plane, word[8]), top)))
            line = e.b.add(e.b.mul(plane, word[10]), e.b.mul(row, word[11]))
            target = e.at(e.args[1], e.b.add(word[2], line))
            with e.loop(0, word[7], lanes) as column:
                self._register(source, target, column)
        wanted = e.b.and_(e.b.icmp_signed("!=", word[12], e.i(0)), e.b.icmp_signed("==", e.args[5], e.i(0)))
        with e.b.if_then(wanted):
            e.store(e.const(0.0, lanes), e.at(e.args[1], word[12]))
        return e.finish()

    def _register(self, source: Any, target: Any, column: Any) -> None:
        """The outputs of one register from ``column`` on, the last one partly filled."""
        e, spec = self.e, self.spec
        kind = ir.VectorType(I32, spec.lanes)
        left = e.b.trunc(e.b.sub(self.word[7], column), I32)
        counts = ir.Constant(kind, list(range(spec.lanes)))
        mask = e.b.icmp_signed("<", counts, e.splat(left, spec.lanes))
        index = e.b.select(mask, self.steps, ir.Constant(kind, [0] * spec.lanes))
        first = e.at(source, e.b.mul(column, e.i(4 * spec.stride[1])))
        value = self._reduce(lambda row, place: gather(
            e, self.isa, e.at(first, e.b.add(e.b.mul(row, self.word[9]), e.b.mul(place, e.i(4)))), index))
        e.call(f"llvm.masked.store.v{spec.lanes}f32.p0", VOID,
               [value, e.at(target, e.b.mul(column, e.i(4))), ir.Constant(I32, 4), mask])

    def _reduce(self, at: Callable[[Any, Any], Any]) -> Any:
        e, spec = self.e, self.spec
        best = spec.kind == "max"
        total = e.var(e.const(float("-inf") if best else 0.0, spec.lanes))
        with e.loop(0, spec.window[0]) as row, e.loop(0, spec.window[1]) as place:
            value, old = at(row, place), e.get(total)
            larger = e.b.fcmp_unordered(">", value, old)
            e.set(total, e.b.select(larger, value, old) if best else e.b.fadd(old, value))
        if best:
            return e.get(total)
        return e.b.fdiv(e.get(total), e.const(float(spec.window[0] * spec.window[1]), spec.lanes))
