"""Sparse convolution and pooling of one image: registers along the rows of the image, in place of the batch.

A value is padded planes of single values. A non-zero weight is an offset into them, as in
:mod:`~secateur.runtime.codegen.kernels.conv`; a register holds neighbours of one row, loaded from wherever they
start. ``down`` rows and ``across`` registers of a row share the weights. What lies behind the end of a
row is computed and not stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from llvmlite import ir

from secateur.runtime.codegen.ir import I1, I32, Emit, vector
from secateur.runtime.codegen.kernels.base import Kernel
from secateur.runtime.codegen.kernels.conv import PositionWriter
from secateur.runtime.codegen.kernels.gather import gather
from secateur.runtime.codegen.kernels.planes import PoolWriter
from secateur.runtime.codegen.kernels.spmm import Product


class _ConvWriter(PositionWriter):
    spec: ImageConv

    def block(self, entry: Any) -> None:
        """One block of columns over all positions of the output."""
        e, spec = self.e, self.spec
        columns = e.at(self.source, e.word(entry, 0))
        whole = e.b.sub(self.word(9), e.i(spec.tail))
        with e.loop(0, whole, spec.down) as row:
            self._lines(entry, columns, row, spec.down)
        if spec.tail:
            self._lines(entry, columns, whole, spec.tail)

    def _lines(self, entry: Any, columns: Any, row: Any, down: int) -> None:
        """``down`` rows of the output, in chunks of ``across`` registers."""
        e, spec = self.e, self.spec
        source, self.line = e.at(columns, e.times(row, spec.source_line)), e.times(row, spec.target_line)
        self.tiles = down * spec.across
        with e.loop(0, spec.chunks - 1) as chunk:
            self._chunk(entry, source, chunk, 0)
        self._chunk(entry, source, e.i(spec.chunks - 1), spec.ragged)

    def _chunk(self, entry: Any, source: Any, chunk: Any, ragged: int) -> None:
        e, spec = self.e, self.spec
        place = e.times(chunk, spec.across * spec.lanes * 4)
        self.shift, self.ragged = e.b.add(self.line, place), ragged
        self.groups(entry, e.at(source, e.times(place, spec.stride)))

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
        self.e.store(value, place, self._partial(tile))

    def watch(self, value: Any, tile: int) -> None:
        """Look for NaN and infinity in what is stored."""
        mask = self._partial(tile)
        super().watch(value if mask is None else self.e.b.select(mask, value, self.zero), tile)

    def inputs(self, column: Any) -> list[Any]:
        """The inputs of every register; with strides, every so many of those that lie there."""
        e, spec = self.e, self.spec
        found = []
        for tile in range(self.tiles):
            row, place = divmod(tile, spec.across)
            first = e.at(column, row * spec.source_line + place * spec.lanes * 4 * spec.stride)
            found.append(_load_strided(e, first, spec.lanes, spec.stride))
        return found


def _load_strided(e: Emit, first: Any, lanes: int, stride: int) -> Any:
    """``lanes`` values that lie ``stride`` values apart, for strides of 1 and 2."""
    low = e.load(first, vector(lanes))
    if stride == 1:
        return low
    return e.shuffle(low, e.load(e.at(first, 4 * lanes), vector(lanes)), range(0, 2 * lanes, 2))


@dataclass(frozen=True, kw_only=True)
class ImageConv(Product):
    """The kernel ``out[channel, position] = act(bias[channel] + sum(weight * in[column + position]))``.

    Words of a step as those of :class:`~secateur.runtime.codegen.kernels.conv.Conv`. ``source_line`` and
    ``target_line`` are the bytes between rows, of the input those that follow each other in the output; ``tail``
    how many rows are left after whole tiles, ``ragged`` how many values the last register of a row has.
    """

    across: int
    down: int
    stride: int
    tail: int
    chunks: int
    ragged: int
    source_line: int
    target_line: int

    writer = _ConvWriter
    width: ClassVar[int] = 1
    unit: ClassVar[int] = 4

    @property
    def step(self) -> int:
        """Bytes between the inputs of neighbours in the output."""
        return 4 * self.stride

    @property
    def tiles(self) -> int:
        """Registers that share the weights."""
        return self.across * self.down


class _PoolWriter(PoolWriter):
    spec: ImagePool

    def write(self) -> str:
        e, spec = self.e, self.spec
        words = self.words = [self.word(k) for k in range(13)]
        self.steps = ir.Constant(ir.VectorType(I32, spec.lanes), [k * spec.stride[1] for k in range(spec.lanes)])
        with e.loop(self.part, words[3], self.parts) as plane, e.loop(0, words[6]) as row:
            top = e.b.mul(row, e.b.mul(e.i(spec.stride[0]), words[9]))
            source = e.at(self.arena, e.b.add(words[1], e.b.add(e.b.mul(plane, words[8]), top)))
            line = e.b.add(e.b.mul(plane, words[10]), e.b.mul(row, words[11]))
            target = e.at(self.arena, e.b.add(words[2], line))
            with e.loop(0, words[7], spec.lanes) as column:
                self._register(source, target, column)
        self.zeros_behind(words[12], spec.lanes)
        return e.finish()

    def _register(self, source: Any, target: Any, column: Any) -> None:
        """The outputs of one register from ``column`` on, the last one partly filled."""
        e, spec = self.e, self.spec
        mask = e.lanes_below(e.b.trunc(e.b.sub(self.words[7], column), I32), spec.lanes)
        index = e.b.select(mask, self.steps, ir.Constant(self.steps.type, [0] * spec.lanes))
        first = e.at(source, e.times(column, 4 * spec.stride[1]))
        value = self.reduce((0, spec.window[0]), (0, spec.window[1]), lambda row, place: gather(
            e, self.isa, e.at(first, e.b.add(e.b.mul(row, self.words[9]), e.times(place, 4))), index))
        if spec.kind == "avg":
            value = e.b.fdiv(value, e.const(float(spec.window[0] * spec.window[1]), spec.lanes))
        e.store(value, e.at(target, e.times(column, 4)), mask)


@dataclass(frozen=True)
class ImagePool(Kernel):
    """Max or average over windows of one image that all lie inside it; registers along the rows of the output.

    Words of a step as those of :class:`~secateur.runtime.codegen.kernels.planes.Pool`.
    """

    lanes: int
    kind: str
    window: tuple[int, int]
    stride: tuple[int, int]

    writer = _PoolWriter
