"""Builds the steps of a segment without planes: a tile has all features of a value, for some rows of the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from secateur.runtime.codegen.isa import Isa
from secateur.runtime.codegen.kernels.permute import BLOCK
from secateur.runtime.codegen.kernels.pointwise import Pointwise
from secateur.runtime.codegen.kernels.rows import LayerNorm, Softmax
from secateur.runtime.codegen.kernels.scale import Scale
from secateur.runtime.codegen.kernels.transpose import Enter, Leave, Tile
from secateur.runtime.ops import Op, Segment, Value
from secateur.runtime.packing.pack import Csr, Places
from secateur.runtime.packing.pack_permute import sums_bytes
from secateur.runtime.schedule.candidates import Candidate, candidates, refusals
from secateur.runtime.schedule.program import KernelStep, lives_of, place, pointer, round_up

Chooser = Callable[[Op, Sequence[Candidate]], Candidate]
_POINTWISE = ("act", "add", "sub", "mul", "div")


class Builder:
    """Builds the steps for values without planes: the method that is named for an operator's kind builds its steps."""

    def __init__(self, segment: Segment, tile: Tile, isa: Isa, choose: Chooser, parts: int):
        self.segment, self.tile, self.isa, self.choose, self.parts = segment, tile, isa, choose, parts
        self.lanes = isa.lanes if tile.width == 1 else tile.lanes
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
        return round_up((value.size + 2) * self.tile.width * 4) + sums

    def at(self, value: Value) -> int:
        """Where a value lies in the arena."""
        return self.offsets[self.alias.get(value, value)]

    def steps(self) -> list[KernelStep]:
        """All steps: entry, operators, exit."""
        inputs, tile = self.segment.inputs, self.tile
        enter = [KernelStep(Enter(tile.lanes, tile.tiles), [k, v.size, self.at(v)], "enter")
                 for k, v in enumerate(inputs)]
        leave = [KernelStep(Leave(tile.lanes, tile.tiles), [k, v.size, self.at(v)], "leave")
                 for k, v in enumerate(self.segment.outputs, len(inputs))]
        return [*enter, *(step for op in self.segment.ops if op.kind != "alias" for step in self.of(op)), *leave]

    def of(self, op: Op) -> list[KernelStep]:
        """The steps of one operator."""
        steps: list[KernelStep] = getattr(self, "pointwise" if op.kind in _POINTWISE else op.kind)(op)
        for step in steps:
            step.output = op.output
        return steps

    def pointwise(self, op: Op) -> list[KernelStep]:
        """An element-wise operator: an activation by itself, or two values combined."""
        spec = Pointwise(self.isa.lanes, self.tile.width, len(op.inputs), op.act, combination(op))
        words = [self.at(op.output), op.output.size * self.tile.width, *map(self.at, op.inputs)]
        return [KernelStep(spec, words, op.name)]

    def behind(self, value: Value) -> int:
        """The place of the zeros behind a value."""
        return self.at(value) + value.size * self.tile.width * 4

    def affine(self, op: Op) -> list[KernelStep]:
        """A fixed factor and offset for every entry of the first axis."""
        planes = op.output.shape[0]
        arrays, size = spread(op, planes), op.output.size // planes * self.tile.width * 4
        words = [self.at(op.output), planes, 1, size, size, size, self.behind(op.output), self.at(op.inputs[0]), size,
                 size, *map(pointer, arrays)]
        return [KernelStep(Scale(self.tile.lanes, self.tile.tiles, op.act), words, op.name, kept=arrays)]

    def norm(self, op: Op) -> list[KernelStep]:
        """Layer norm."""
        arrays = [None if op.settings[name] is None else np.ascontiguousarray(op.settings[name], np.float32)
                  for name in ("scale", "shift")]
        spec = LayerNorm(self.lanes, self.tile.width, op.settings["eps"], *(array is not None for array in arrays))
        words = [*self.row_words(op), *map(pointer, arrays)]
        return [KernelStep(spec, words, op.name, kept=[a for a in arrays if a is not None])]

    def softmax(self, op: Op) -> list[KernelStep]:
        """Softmax."""
        return [KernelStep(Softmax(self.lanes, self.tile.width), self.row_words(op), op.name)]

    def row_words(self, op: Op) -> list[int]:
        """The words of an operator over all features of a row: input, output, features, zeros behind the output."""
        return [self.at(op.inputs[0]), self.at(op.output), op.output.size, self.behind(op.output)]

    def linear(self, op: Op) -> list[KernelStep]:
        """A sparse matrix product."""
        assert op.weight is not None
        sums = round_up(self.at(op.output) + (op.output.size + 2) * 4) if self.tile.width == 1 else 0
        options = candidates(op, self.tile.lanes, self.tile.tiles, self.isa)
        return [self.product(op, options, Csr.of(op.weight), self.at(op.output), [op.output.size, sums])]

    def product(self, op: Op, options: Sequence[Candidate], weight: Csr, target: int, rest: Sequence[int],
                places: Places | None = None) -> KernelStep:
        """The step of a sparse product on the chosen kernel; ``rest`` are the words behind those of the weights."""
        chosen = self.choose(op, options)
        packed, bias = chosen.pack(weight, self.parts, places), pad_bias(op.bias)
        start = 0 if bias is None else pointer(bias) + 4
        words = [self.at(op.inputs[0]), target, pointer(packed.table), pointer(packed.heads), pointer(packed.stream),
                 start, packed.parts, packed.blocks, *rest]
        refused = (*chosen.rest, *refusals(op, chosen))
        return KernelStep(chosen.spec, words, op.name, packed, bias, kernel=str(chosen), refused=refused)


def combination(op: Op) -> str:
    """How a pointwise operator combines two values; for one value it does not matter."""
    return "add" if op.kind == "act" else op.kind


def spread(op: Op, planes: int) -> list[NDArray[np.float32]]:
    """Factors and offsets, one for each plane."""
    arrays = [np.asarray(op.settings[name], np.float32) for name in ("factor", "offset")]
    return [np.repeat(array, planes // len(array)) for array in arrays]


def pad_bias(bias: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    """A bias with a zero before it and two behind it, which the rows that only fill up a group read."""
    return None if bias is None else np.pad(bias, (1, 2))
