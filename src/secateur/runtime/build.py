"""Segment and width to program: which kernels, where values lie, weights packed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.runtime.candidates import Candidate, candidates, conv_candidates
from secateur.runtime.isa import Isa
from secateur.runtime.kernels.permute import BLOCK
from secateur.runtime.kernels.planes import Border, Planes, Pool
from secateur.runtime.kernels.pointwise import Pointwise
from secateur.runtime.kernels.transpose import Enter, Leave
from secateur.runtime.layout import Layout, arrange, has_planes
from secateur.runtime.ops import Op, Segment, Value
from secateur.runtime.pack import Csr, Packed, Places
from secateur.runtime.pack_permute import sums_bytes
from secateur.runtime.program import Program, Step, lives_of, place, pointer

Chooser = Callable[[Op, Sequence[Candidate]], Candidate]


@dataclass(frozen=True)
class Tile:
    """The shape of a tile: ``tiles`` registers of ``lanes`` batch rows."""

    lanes: int
    tiles: int

    @property
    def width(self) -> int:
        """Batch rows."""
        return self.lanes * self.tiles


def tile_of(width: int, isa: Isa) -> Tile:
    """How registers make up a width.

    >>> from secateur.runtime.isa import ISAS
    >>> tile_of(64, ISAS["avx512"]), tile_of(8, ISAS["avx512"])
    (Tile(lanes=16, tiles=4), Tile(lanes=8, tiles=1))
    """
    lanes = min(width, isa.lanes)
    return Tile(lanes, width // lanes)


def widths(isa: Isa, segment: Segment) -> tuple[int, ...]:
    """The widths of tile that programs of a segment are made for; values as planes take one register only."""
    if has_planes(segment):
        return tuple(sorted({min(8, isa.lanes), isa.lanes}))
    return (1, *sorted({8, isa.lanes, 2 * isa.lanes, 4 * isa.lanes}))


def build(segment: Segment, width: int, isa: Isa, choose: Chooser, parts: int = 1) -> Program:
    """The program of a segment for one width."""
    kind = PlaneBuilder if has_planes(segment) else Builder
    builder = kind(segment, tile_of(width, isa), isa, choose, parts)
    return Program(segment, width, builder.steps(), builder.end, isa)


class Builder:
    """Steps for values without planes."""

    def __init__(self, segment: Segment, tile: Tile, isa: Isa, choose: Chooser, parts: int):
        self.segment, self.tile, self.isa, self.choose, self.parts = segment, tile, isa, choose, parts
        self.alias: dict[Value, Value] = {}
        for op in segment.ops:
            if op.kind == "alias":
                self.alias[op.output] = self.alias.get(op.inputs[0], op.inputs[0])
        lives = lives_of(segment, self.alias)
        self.offsets, self.end = place({v: self.room(v) for v in lives}, lives)

    def room(self, value: Value) -> int:
        """Bytes of a value in the arena: a row of zeros and one that nobody reads behind it.

        For one row of the batch, a whole block of columns may be loaded, and sums by groups of rows lie behind.
        """
        sums = sums_bytes(value.size, self.parts) + 4 * BLOCK if self.tile.width == 1 else 0
        return -(-(value.size + 2) * self.tile.width * 4 // 64) * 64 + sums

    def at(self, value: Value) -> int:
        """Where a value lies in the arena."""
        return self.offsets[self.alias.get(value, value)]

    def steps(self) -> list[Step]:
        """All steps: entry, operators, exit."""
        count, tile = len(self.segment.inputs), self.tile
        enter = [self.move(Enter(tile.lanes, tile.tiles), k, v, "enter") for k, v in enumerate(self.segment.inputs)]
        leave = [self.move(Leave(tile.lanes, tile.tiles), count + k, v, "leave")
                 for k, v in enumerate(self.segment.outputs)]
        middle = [step for op in self.segment.ops if op.kind != "alias" for step in getattr(self, op.kind)(op)]
        return [*enter, *middle, *leave]

    def move(self, spec: Any, index: int, value: Value, label: str) -> Step:
        """Entry or exit of one value."""
        return Step(spec, [index, value.size, self.at(value)], label)

    def act(self, op: Op) -> list[Step]:
        """An activation by itself."""
        return self.pointwise(op)

    def add(self, op: Op) -> list[Step]:
        """The sum of two values."""
        return self.pointwise(op)

    def pointwise(self, op: Op) -> list[Step]:
        """An element-wise operator."""
        spec = Pointwise(self.isa.lanes, self.tile.width, len(op.inputs), op.act)
        return [Step(spec, [self.at(op.output), op.output.size * self.tile.width, *map(self.at, op.inputs)], op.name)]

    def linear(self, op: Op) -> list[Step]:
        """A sparse matrix product."""
        assert op.weight is not None
        chosen = self.choose(op, candidates(op, self.tile.lanes, self.tile.tiles, self.isa))
        packed = chosen.pack(Csr.of(op.weight), self.parts)
        bias = padded(op.bias)
        sums = self.at(op.output) + -(-(op.output.size + 2) * 4 // 64) * 64 if self.tile.width == 1 else 0
        words = [self.at(op.inputs[0]), self.at(op.output), *stream_words(packed, bias), op.output.size, sums]
        return [Step(chosen.spec, words, op.name, packed, bias, kernel=str(chosen))]


def padded(bias: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    """A bias with a zero before and two behind it, for the rows that only fill groups up."""
    return None if bias is None else np.pad(bias, (1, 2))


def stream_words(packed: Packed, bias: NDArray[np.float32] | None) -> list[int]:
    """The words that point to packed weights and to the first value of a padded bias."""
    start = 0 if bias is None else pointer(bias) + 4
    return [pointer(packed.table), pointer(packed.heads), pointer(packed.stream), start, packed.parts, packed.blocks]


class PlaneBuilder(Builder):
    """Steps for values as planes, one register of batch rows a position."""

    def __init__(self, segment: Segment, tile: Tile, isa: Isa, choose: Chooser, parts: int):
        self.bytes = tile.width * 4
        segment, self.layouts = arrange(segment)
        super().__init__(segment, tile, isa, choose, parts)

    def room(self, value: Value) -> int:
        """Bytes of a value: a plane that nobody reads before it, zeros behind it."""
        layout = self.layouts[value]
        return -(-((layout.planes + 1) * layout.plane + 2) * self.bytes // 64) * 64

    def layout(self, value: Value) -> Layout:
        """The layout of a value."""
        return self.layouts[value]

    def at(self, value: Value) -> int:
        """Where a value lies in the arena, its border included."""
        home = self.alias.get(value, value)
        return self.offsets[home] + self.layouts[home].plane * self.bytes

    def origin(self, value: Value) -> int:
        """Where the first value inside the border lies."""
        return self.at(value) + self.layout(value).origin * self.bytes

    def strides(self, value: Value) -> list[int]:
        """Bytes between planes and between rows."""
        layout = self.layout(value)
        return [layout.plane * self.bytes, layout.line * self.bytes]

    def behind(self, value: Value) -> int:
        """The place of the zeros behind a value without a border, else 0."""
        return self.at(value) + value.size * self.bytes if self.layout(value).pad == (0, 0) else 0

    def bordered(self, op: Op, step: Step) -> list[Step]:
        """A step, before it the zeros around its output where that has a border."""
        layout = self.layout(op.output)
        if layout.pad == (0, 0):
            return [step]
        words = [self.at(op.output), layout.planes, layout.rows + 2 * layout.pad[0], layout.line, *layout.pad]
        return [Step(Border(self.tile.lanes), words, op.name), step]

    def pointwise(self, op: Op) -> list[Step]:
        """An element-wise operator, or a copy into a padded value."""
        out = self.layout(op.output)
        words = [self.origin(op.output), out.planes, out.rows, out.columns * self.bytes, *self.strides(op.output),
                 self.behind(op.output)]
        words += [word for v in op.inputs for word in (self.origin(v), *self.strides(v))]
        return self.bordered(op, Step(Planes(self.tile.lanes, len(op.inputs), op.act), words, op.name))

    def concat(self, op: Op) -> list[Step]:
        """Values one after the other along the channels."""
        steps, place = [], self.origin(op.output)
        for value in op.inputs:
            layout = self.layout(value)
            words = [place, layout.planes, layout.rows, layout.columns * self.bytes, *self.strides(op.output),
                     self.behind(op.output), self.origin(value), *self.strides(value)]
            steps.append(Step(Planes(self.tile.lanes, 1, op.act), words, op.name))
            place += layout.planes * self.strides(op.output)[0]
        return steps

    def pool(self, op: Op) -> list[Step]:
        """Max or average over windows."""
        source, out = self.layout(op.inputs[0]), self.layout(op.output)
        spec = Pool(self.tile.lanes, **op.settings)
        words = [self.origin(op.inputs[0]), self.origin(op.output), out.planes, source.rows, source.columns, out.rows,
                 out.columns, *self.strides(op.inputs[0]), *self.strides(op.output), self.behind(op.output)]
        return self.bordered(op, Step(spec, words, op.name))

    def conv(self, op: Op) -> list[Step]:
        """A sparse convolution."""
        assert op.weight is not None
        source, out = self.layout(op.inputs[0]), self.layout(op.output)
        matrix, columns = unrolled(op, source)
        chosen = self.choose(op, conv_candidates(op, self.tile.lanes, out.columns, source.plane, self.isa))
        packed = chosen.pack(Csr.of(matrix), self.parts, Places(columns, None, -1))
        bias = padded(op.bias)
        words = [self.at(op.inputs[0]), self.origin(op.output), *stream_words(packed, bias), out.rows, out.columns,
                 op.settings["stride"][0] * source.line * self.bytes, *self.strides(op.output), self.behind(op.output)]
        return self.bordered(op, Step(chosen.spec, words, op.name, packed, bias, kernel=str(chosen)))


def unrolled(op: Op, source: Layout) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The weight as a matrix over all input channels, and where each of its columns lies in the source."""
    assert op.weight is not None
    out, inside, *window = op.weight.shape
    groups, (rows, columns) = op.settings["groups"], (1, *window)[-2:]
    weight = op.weight.reshape(groups, out // groups, inside * rows * columns)
    matrix = np.zeros((groups, out // groups, groups, weight.shape[2]), np.float32)
    for group in range(groups):
        matrix[group, :, group] = weight[group]
    channel, row, column = np.meshgrid(np.arange(groups * inside), np.arange(rows), np.arange(columns), indexing="ij")
    dilation = op.settings["dilation"]
    places = channel * source.plane + row * dilation[0] * source.line + column * dilation[1]
    return matrix.reshape(out, -1), places.reshape(-1)
