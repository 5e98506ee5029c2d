"""Segment and width to program: which kernels, where values lie, weights packed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from secateur.runtime.candidates import Candidate, candidates
from secateur.runtime.isa import Isa
from secateur.runtime.kernels.pointwise import Pointwise
from secateur.runtime.kernels.transpose import Enter, Leave
from secateur.runtime.ops import Op, Segment, Value
from secateur.runtime.pack import Csr, pack
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


def widths(isa: Isa) -> tuple[int, ...]:
    """The widths of tile that programs are made for."""
    return (1, *sorted({8, isa.lanes, 2 * isa.lanes, 4 * isa.lanes}))


def build(segment: Segment, width: int, isa: Isa, choose: Chooser, parts: int = 1) -> Program:
    """The program of a segment for one width."""
    builder = _Builder(segment, tile_of(width, isa), isa, choose, parts)
    return Program(segment, width, builder.steps(), builder.end, isa)


class _Builder:
    def __init__(self, segment: Segment, tile: Tile, isa: Isa, choose: Chooser, parts: int):
        self.segment, self.tile, self.isa, self.choose, self.parts = segment, tile, isa, choose, parts
        self.alias: dict[Value, Value] = {}
        for op in segment.ops:
            if op.kind == "alias":
                self.alias[op.output] = self.alias.get(op.inputs[0], op.inputs[0])
        lives = lives_of(segment, self.alias)
        sizes = {v: -(-(v.size + 2) * tile.width * 4 // 64) * 64 for v in lives}
        self.offsets, self.end = place(sizes, lives)

    def at(self, value: Value) -> int:
        """Where a value lies in the arena."""
        return self.offsets[self.alias.get(value, value)]

    def steps(self) -> list[Step]:
        """All steps: entry, operators, exit."""
        count, tile = len(self.segment.inputs), self.tile
        enter = [self.move(Enter(tile.lanes, tile.tiles), k, v, "enter") for k, v in enumerate(self.segment.inputs)]
        leave = [self.move(Leave(tile.lanes, tile.tiles), count + k, v, "leave")
                 for k, v in enumerate(self.segment.outputs)]
        middle = [getattr(self, op.kind)(op) for op in self.segment.ops if op.kind != "alias"]
        return [*enter, *middle, *leave]

    def move(self, spec: Any, index: int, value: Value, label: str) -> Step:
        """Entry or exit of one value."""
        return Step(spec, [index, value.size, self.at(value)], label)

    def act(self, op: Op) -> Step:
        """An activation by itself."""
        return self.pointwise(op)

    def add(self, op: Op) -> Step:
        """The sum of two values."""
        return self.pointwise(op)

    def pointwise(self, op: Op) -> Step:
        """An element-wise operator."""
        spec = Pointwise(self.isa.lanes, self.tile.width, len(op.inputs), op.act)
        return Step(spec, [self.at(op.output), op.output.size * self.tile.width, *map(self.at, op.inputs)], op.name)

    def linear(self, op: Op) -> Step:
        """A sparse matrix product."""
        assert op.weight is not None
        chosen = self.choose(op, candidates(op, self.tile.lanes, self.tile.tiles, self.isa))
        packed = pack(Csr.of(op.weight), chosen.spec, chosen.block, self.parts)
        words = [self.at(op.inputs[0]), self.at(op.output), pointer(packed.table), pointer(packed.heads),
                 pointer(packed.stream), pointer(op.bias), packed.parts, packed.blocks, op.output.size]
        return Step(chosen.spec, words, op.name, packed, op.bias, kernel=str(chosen))
