"""Builds the steps of a segment whose values are planes: a batch of images, or one image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateur.runtime.codegen.isa import Isa
from secateur.runtime.codegen.kernels.image import ImagePool
from secateur.runtime.codegen.kernels.planes import Border, Planes, Pool
from secateur.runtime.codegen.kernels.scale import Scale
from secateur.runtime.codegen.kernels.transpose import Tile
from secateur.runtime.ops import Op, Segment, Value
from secateur.runtime.packing.layout import Layout, arrange
from secateur.runtime.packing.pack import Csr, Places
from secateur.runtime.packing.pack_permute import sums_bytes
from secateur.runtime.schedule.build_tiles import Builder, Chooser, combination, spread
from secateur.runtime.schedule.candidates import conv_candidates, image_candidates
from secateur.runtime.schedule.program import KernelStep, pointer, round_up

_OVER = 512
"""Bytes behind a value of one image that may be loaded: registers begin anywhere in a row."""


class PlaneBuilder(Builder):
    """Builds the steps for values as planes: one register of batch rows a position, or of one image single values."""

    def __init__(self, segment: Segment, tile: Tile, isa: Isa, choose: Chooser, parts: int):
        self.bytes = tile.width * 4
        segment, self.layouts = arrange(segment)
        super().__init__(segment, tile, isa, choose, parts)

    def room(self, value: Value) -> int:
        """Bytes of a value: a plane that nobody reads before it, zeros behind it.

        For one image registers may be loaded from beyond the end, and sums by groups of rows lie behind.
        """
        layout = self.layouts[value]
        extra = sums_bytes(value.size, self.parts) + _OVER if self.tile.width == 1 else 0
        return round_up(((layout.planes + 1) * layout.plane + 2) * self.bytes) + extra

    def at(self, value: Value) -> int:
        """Where a value lies in the arena, its border included."""
        home = self.alias.get(value, value)
        return self.offsets[home] + self.layouts[home].plane * self.bytes

    def origin(self, value: Value) -> int:
        """Where the first value inside the border lies."""
        return self.at(value) + self.layouts[value].origin * self.bytes

    def strides(self, value: Value) -> list[int]:
        """Bytes between planes and between rows."""
        layout = self.layouts[value]
        return [layout.plane * self.bytes, layout.line * self.bytes]

    def behind(self, value: Value) -> int:
        """The place of the zeros behind a value without a border; with one, 0."""
        return self.at(value) + value.size * self.bytes if self.layouts[value].pad == (0, 0) else 0

    def target_words(self, value: Value) -> list[int]:
        """The words of an element-wise operator's output."""
        layout = self.layouts[value]
        return [self.origin(value), layout.planes, layout.rows, layout.columns * self.bytes, *self.strides(value),
                self.behind(value)]

    def with_border(self, op: Op, step: KernelStep) -> list[KernelStep]:
        """A step, and before it the one that writes the zeros around its output where that has a border."""
        layout = self.layouts[op.output]
        if layout.pad == (0, 0):
            return [step]
        words = [self.at(op.output), layout.planes, layout.rows + 2 * layout.pad[0], layout.line, *layout.pad]
        return [KernelStep(Border(self.tile.lanes), words, op.name), step]

    def pointwise(self, op: Op) -> list[KernelStep]:
        """An element-wise operator, or a copy into a padded value."""
        words = self.target_words(op.output)
        single = tuple(k for k, v in enumerate(op.inputs) if v.size < op.output.size)
        words += [word for k, v in enumerate(op.inputs)
                  for word in (self.origin(v), self.strides(v)[0], 0 if k in single else self.strides(v)[1])]
        spec = Planes(self.lanes, len(op.inputs), op.act, combination(op), single, ragged=self.tile.width == 1)
        return self.with_border(op, KernelStep(spec, words, op.name))

    def affine(self, op: Op) -> list[KernelStep]:
        """A fixed factor and offset for every plane."""
        source, arrays = op.inputs[0], spread(op, self.layouts[op.output].planes)
        words = [*self.target_words(op.output), self.origin(source), *self.strides(source), *map(pointer, arrays)]
        spec = Scale(self.lanes, 1, op.act, ragged=self.tile.width == 1)
        return self.with_border(op, KernelStep(spec, words, op.name, kept=arrays))

    def concat(self, op: Op) -> list[KernelStep]:
        """Values one after the other along the channels."""
        steps, place = [], self.origin(op.output)
        for value in op.inputs:
            layout = self.layouts[value]
            words = [place, layout.planes, layout.rows, layout.columns * self.bytes, *self.strides(op.output),
                     self.behind(op.output), self.origin(value), *self.strides(value)]
            steps.append(KernelStep(Planes(self.lanes, 1, op.act, ragged=self.tile.width == 1), words, op.name))
            place += layout.planes * self.strides(op.output)[0]
        return steps

    def pool(self, op: Op) -> list[KernelStep]:
        """Max or average over windows."""
        source, out = self.layouts[op.inputs[0]], self.layouts[op.output]
        spec = self.pool_kernel(op, source, out)
        words = [self.origin(op.inputs[0]), self.origin(op.output), out.planes, source.rows, source.columns, out.rows,
                 out.columns, *self.strides(op.inputs[0]), *self.strides(op.output), self.behind(op.output)]
        return self.with_border(op, KernelStep(spec, words, op.name))

    def pool_kernel(self, op: Op, source: Layout, out: Layout) -> Pool | ImagePool:
        """The kernel of a pool: for one image, windows that all lie inside take registers along the rows."""
        window, stride = op.settings["window"], op.settings["stride"]
        inside = ((out.rows - 1) * stride[0] + window[0] <= source.rows
                  and (out.columns - 1) * stride[1] + window[1] <= source.columns)
        if self.tile.width == 1 and inside and op.settings["padding"] == (0, 0) and not op.settings.get("divisor"):
            return ImagePool(self.isa.lanes, op.settings["kind"], window, stride)
        return Pool(self.tile.lanes, **op.settings)

    def conv(self, op: Op) -> list[KernelStep]:
        """A sparse convolution."""
        assert op.weight is not None
        source, out = self.layouts[op.inputs[0]], self.layouts[op.output]
        matrix, columns = _weight_matrix(op, source)
        options = (image_candidates(op, source, out, self.isa) if self.tile.width == 1 else
                   conv_candidates(op, self.tile.lanes, out.columns, source.plane, self.isa))
        rest = [out.rows, out.columns, op.settings["stride"][0] * source.line * self.bytes, *self.strides(op.output),
                self.behind(op.output)]
        step = self.product(op, options, Csr.of(matrix), self.origin(op.output), rest, Places(columns, None, -1))
        return self.with_border(op, step)


def _weight_matrix(op: Op, source: Layout) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
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
