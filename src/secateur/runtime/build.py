"""Segment and width to program: which kernels, where values lie, weights packed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.runtime.candidates import Candidate, candidates, conv_candidates, image_candidates, refusals
from secateur.runtime.isa import Isa
from secateur.runtime.kernels.image import ImagePool
from secateur.runtime.kernels.permute import BLOCK
from secateur.runtime.kernels.planes import Border, Planes, Pool
from secateur.runtime.kernels.pointwise import Pointwise
from secateur.runtime.kernels.rows import Norm, Softmax
from secateur.runtime.kernels.scale import Scale
from secateur.runtime.kernels.transpose import Enter, Leave
from secateur.runtime.layout import Layout, arrange, has_planes
from secateur.runtime.ops import Op, Segment, Value
from secateur.runtime.pack import Csr, Packed, Places
from secateur.runtime.pack_permute import sums_bytes
from secateur.runtime.program import Program, Step, lives_of, place, pointer

OVER = 512
"""Bytes behind a value of one image that may be loaded."""
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
    """The widths of tile that programs of a segment are made for; values as planes take one register, or one image."""
    if has_planes(segment):
        return tuple(sorted({*([1] if all(map(one_image, segment.ops)) else []), min(8, isa.lanes), isa.lanes}))
    return (1, *sorted({8, isa.lanes, 2 * isa.lanes, 4 * isa.lanes}))


def one_image(op: Op) -> bool:
    """Whether an operator can run on a tile of one image."""
    return op.kind != "conv" or op.settings["stride"][1] <= 2


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
        return [*enter, *(step for op in self.segment.ops if op.kind != "alias" for step in self.of(op)), *leave]

    def of(self, op: Op) -> list[Step]:
        """The steps of one operator."""
        steps: list[Step] = getattr(self, STEPS.get(op.kind, op.kind))(op)
        for step in steps:
            step.output = op.output
        return steps

    def move(self, spec: Any, index: int, value: Value, label: str) -> Step:
        """Entry or exit of one value."""
        return Step(spec, [index, value.size, self.at(value)], label)

    def pointwise(self, op: Op) -> list[Step]:
        """An element-wise operator: an activation by itself, or two values joined."""
        spec = Pointwise(self.isa.lanes, self.tile.width, len(op.inputs), op.act, joins(op))
        return [Step(spec, [self.at(op.output), op.output.size * self.tile.width, *map(self.at, op.inputs)], op.name)]

    def behind(self, value: Value) -> int:
        """The place of the zeros behind a value."""
        return self.at(value) + value.size * self.tile.width * 4

    def affine(self, op: Op) -> list[Step]:
        """A fixed factor and offset for every entry of the first axis."""
        planes = op.output.shape[0]
        arrays, size = spread(op, planes), op.output.size // planes * self.tile.width * 4
        words = [self.at(op.output), planes, 1, size, size, size, self.behind(op.output), self.at(op.inputs[0]), size,
                 size, *map(pointer, arrays)]
        return [Step(Scale(self.tile.lanes, self.tile.tiles, op.act), words, op.name, kept=arrays)]

    def norm(self, op: Op) -> list[Step]:
        """Layer norm."""
        arrays = [None if op.settings[name] is None else np.ascontiguousarray(op.settings[name], np.float32)
                  for name in ("scale", "shift")]
        lanes = self.isa.lanes if self.tile.width == 1 else self.tile.lanes
        spec = Norm(lanes, self.tile.width, op.settings["eps"], *(array is not None for array in arrays))
        words = [self.at(op.inputs[0]), self.at(op.output), op.output.size, self.behind(op.output),
                 *map(pointer, arrays)]
        return [Step(spec, words, op.name, kept=[a for a in arrays if a is not None])]

    def softmax(self, op: Op) -> list[Step]:
        """Softmax."""
        spec = Softmax(self.isa.lanes if self.tile.width == 1 else self.tile.lanes, self.tile.width)
        words = [self.at(op.inputs[0]), self.at(op.output), op.output.size, self.behind(op.output)]
        return [Step(spec, words, op.name)]

    def linear(self, op: Op) -> list[Step]:
        """A sparse matrix product."""
        assert op.weight is not None
        chosen = self.choose(op, candidates(op, self.tile.lanes, self.tile.tiles, self.isa))
        packed = chosen.pack(Csr.of(op.weight), self.parts)
        bias = padded(op.bias)
        sums = -(-(self.at(op.output) + (op.output.size + 2) * 4) // 64) * 64 if self.tile.width == 1 else 0
        words = [self.at(op.inputs[0]), self.at(op.output), *stream_words(packed, bias), op.output.size, sums]
        refused = (*chosen.rest, *refusals(op, chosen))
        return [Step(chosen.spec, words, op.name, packed, bias, kernel=str(chosen), refused=refused)]


STEPS = {"act": "pointwise", "add": "pointwise", "sub": "pointwise", "mul": "pointwise", "div": "pointwise"}
"""Kinds of operators that another kind's method builds."""


def joins(op: Op) -> str:
    """How a pointwise operator joins two values."""
    return "add" if op.kind == "act" else op.kind


def spread(op: Op, planes: int) -> list[NDArray[np.float32]]:
    """Factors and offsets, one for each plane."""
    arrays = [np.asarray(op.settings[name], np.float32) for name in ("factor", "offset")]
    return [np.repeat(array, planes // len(array)) for array in arrays]


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
        self.bytes, self.lanes = tile.width * 4, isa.lanes if tile.width == 1 else tile.lanes
        segment, self.layouts = arrange(segment)
        super().__init__(segment, tile, isa, choose, parts)

    def room(self, value: Value) -> int:
        """Bytes of a value: a plane that nobody reads before it, zeros behind it.

        For one image registers may be loaded from beyond the end, and sums by groups of rows lie behind.
        """
        layout = self.layouts[value]
        extra = sums_bytes(value.size, self.parts) + OVER if self.tile.width == 1 else 0
        return -(-((layout.planes + 1) * layout.plane + 2) * self.bytes // 64) * 64 + extra

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
        """The place of the zeros behind a value without a border; with one, 0."""
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
        single = tuple(k for k, v in enumerate(op.inputs) if v.size < op.output.size)
        words += [word for k, v in enumerate(op.inputs)
                  for word in (self.origin(v), self.strides(v)[0], 0 if k in single else self.strides(v)[1])]
        spec = Planes(self.lanes, len(op.inputs), op.act, joins(op), single, ragged=self.tile.width == 1)
        return self.bordered(op, Step(spec, words, op.name))

    def affine(self, op: Op) -> list[Step]:
        """A fixed factor and offset for every plane."""
        out, source = self.layout(op.output), op.inputs[0]
        arrays = spread(op, out.planes)
        words = [self.origin(op.output), out.planes, out.rows, out.columns * self.bytes, *self.strides(op.output),
                 self.behind(op.output), self.origin(source), *self.strides(source), *map(pointer, arrays)]
        spec = Scale(self.lanes, 1, op.act, ragged=self.tile.width == 1)
        return self.bordered(op, Step(spec, words, op.name, kept=arrays))

    def concat(self, op: Op) -> list[Step]:
        """Values one after the other along the channels."""
        steps, place = [], self.origin(op.output)
        for value in op.inputs:
            layout = self.layout(value)
            words = [place, layout.planes, layout.rows, layout.columns * self.bytes, *self.strides(op.output),
                     self.behind(op.output), self.origin(value), *self.strides(value)]
            steps.append(Step(Planes(self.lanes, 1, op.act, ragged=self.tile.width == 1), words, op.name))
            place += layout.planes * self.strides(op.output)[0]
        return steps

    def pool(self, op: Op) -> list[Step]:
        """Max or average over windows."""
        source, out = self.layout(op.inputs[0]), self.layout(op.output)
        spec = self.pool_kernel(op, source, out)
        words = [self.origin(op.inputs[0]), self.origin(op.output), out.planes, source.rows, source.columns, out.rows,
                 out.columns, *self.strides(op.inputs[0]), *self.strides(op.output), self.behind(op.output)]
        return self.bordered(op, Step(spec, words, op.name))

    def pool_kernel(self, op: Op, source: Layout, out: Layout) -> Pool | ImagePool:
        """The kernel of a pool: for one image, windows that all lie inside take registers along the rows."""
        window, stride = op.settings["window"], op.settings["stride"]
        inside = ((out.rows - 1) * stride[0] + window[0] <= source.rows
                  and (out.columns - 1) * stride[1] + window[1] <= source.columns)
        if self.tile.width == 1 and inside and op.settings["padding"] == (0, 0) and not op.settings.get("divisor"):
            return ImagePool(self.isa.lanes, op.settings["kind"], window, stride)
        return Pool(self.tile.lanes, **op.settings)

    def conv(self, op: Op) -> list[Step]:
        """A sparse convolution."""
        assert op.weight is not None
        source, out = self.layout(op.inputs[0]), self.layout(op.output)
        matrix, columns = unrolled(op, source)
        options = (image_candidates(op, source, out, self.isa) if self.tile.width == 1 else
                   conv_candidates(op, self.tile.lanes, out.columns, source.plane, self.isa))
        chosen = self.choose(op, options)
        packed = chosen.pack(Csr.of(matrix), self.parts, Places(columns, None, -1))
        bias = padded(op.bias)
        words = [self.at(op.inputs[0]), self.origin(op.output), *stream_words(packed, bias), out.rows, out.columns,
                 op.settings["stride"][0] * source.line * self.bytes, *self.strides(op.output), self.behind(op.output)]
        refused = (*chosen.rest, *refusals(op, chosen))
        return self.bordered(op, Step(chosen.spec, words, op.name, packed, bias, kernel=str(chosen), refused=refused))


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
