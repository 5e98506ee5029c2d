"""Sparse weights times one vector without gathers: the kernel for batch 1 where a register holds 16 values.

Sixteen rows go together. Columns go in blocks of 32, whose activations two registers hold; a *chunk* has one
weight for each of the sixteen rows and picks their activations out of the two registers by ``vpermi2ps``,
which reads five bits an index, so that six chunks share one register of indices. A group of rows has as many
chunks in a block as at least some of its rows fill; what is left over is gathered from memory at the end.

The stream of a part, run by run (groups of one block with equally many chunks): for every six chunks 64 bytes
of indices and six times 64 bytes of weights (32 where weights have 16 bits), then for the ``rest`` (fewer than
six) 64 bytes of indices, or 32 for up to three chunks, and their weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from llvmlite import ir

from secateur.runtime.codegen.ir import I16, I32, I64, WORD, vector
from secateur.runtime.codegen.kernels.base import Kernel
from secateur.runtime.codegen.kernels.gather import VectorWriter
from secateur.runtime.codegen.kernels.spmm import AHEAD, weight_bytes

LANES, BLOCK = 16, 32
SIX, BITS = 6, 5
"""An index into two registers of sixteen takes five bits, and six of them fit into the 32 bits of a lane."""
PART_WORDS, RUN_WORDS = 8, 4
LINE = 4 * LANES
"""Bytes of a register, which are those of a line of the cache too."""


def index_bytes(chunks: int) -> int:
    """Bytes of the indices of up to six chunks."""
    return LINE if chunks > 3 else LINE // 2 if chunks else 0


class _Writer(VectorWriter):
    part_words = PART_WORDS

    def one_part(self, entry: Any) -> None:
        e = self.e
        runs, count, heads, stream, ends, rest, groups, sums = (e.word(entry, k) for k in range(PART_WORDS))
        self.row_sums = e.at(e.at(self.arena, self.word(10)), sums)
        with e.loop(0, e.times(groups, LINE), LINE) as place:
            e.store(self.zero, e.at(self.row_sums, place))
        head, cursor = e.var(e.at(self.heads, heads)), e.var(e.at(self.stream, stream))
        with e.loop(0, count) as run:
            self._run(e.at(self.table, e.b.add(runs, e.times(run, RUN_WORDS * WORD))), head, cursor)
        e.set(head, e.at(self.heads, ends))
        e.set(cursor, e.at(self.stream, rest))
        with e.loop(0, groups) as group:
            here = e.get(head)
            self.group(here, cursor, e.load(e.at(self.row_sums, e.times(group, LINE)), vector(LANES)))
            e.set(head, e.at(here, 4 * (1 + LANES)))

    def _run(self, run: Any, head: Any, cursor: Any) -> None:
        """Groups of one block that have equally many chunks."""
        e = self.e
        columns = e.at(self.source, e.word(run, 0))
        self.low, self.high = e.load(columns, vector(LANES)), e.load(e.at(columns, LINE), vector(LANES))
        sixes, rest = e.word(run, 1), e.word(run, 2)
        with e.loop(0, e.word(run, 3)):
            place = e.at(self.row_sums, e.index32(e.get(head)))
            e.set(head, e.at(e.get(head), 4))
            self.total = e.var(e.load(place, vector(LANES)))
            with e.loop(0, sixes):
                self._chunks(cursor, SIX)
            self._rest(cursor, rest)
            e.store(e.get(self.total), place)

    def _rest(self, cursor: Any, rest: Any) -> None:
        """Fewer than six chunks: a branch for every count, the same one all through a run."""
        e = self.e
        after = e.function.append_basic_block("after")
        switch = e.b.switch(rest, after)
        for count in range(1, SIX):
            block = e.function.append_basic_block(f"rest{count}")
            switch.add_case(ir.Constant(I64, count), block)
            e.b.position_at_end(block)
            self._chunks(cursor, count)
            e.b.branch(after)
        e.b.position_at_end(after)

    def _chunks(self, cursor: Any, count: int) -> None:
        e, start = self.e, self.e.get(cursor)
        for chunk, index in enumerate(self._indices(start, count)):
            place = index_bytes(count) + chunk * self.spec.chunk
            if place % LINE == 0 or not self.spec.half:
                e.prefetch(e.at(start, AHEAD + place))
            weights = e.weights(e.at(start, place), LANES, self.spec.half)
            picked = e.call("llvm.x86.avx512.vpermi2var.ps.512", vector(LANES), [self.low, index, self.high])
            e.set(self.total, e.fma(weights, picked, e.get(self.total)))
        e.set(cursor, e.at(start, index_bytes(count) + count * self.spec.chunk))

    def _indices(self, start: Any, count: int) -> Iterator[Any]:
        """The register of indices, shifted on by five bits for every chunk."""
        e, kind = self.e, ir.VectorType(I32, LANES)
        half = index_bytes(count) < LINE
        index = e.load(start, ir.VectorType(I16, LANES), 2) if half else e.load(start, kind)
        index = e.b.zext(index, kind) if half else index
        for chunk in range(count):
            yield e.b.lshr(index, ir.Constant(kind, [BITS * chunk] * LANES)) if chunk else index


@dataclass(frozen=True)
class Permute(Kernel):
    """The kernel ``out[row] = act(bias[row] + sum(weight * in[column]))`` for one row of the batch.

    Words of a step: function, in, out, table, heads, stream, bias, parts, blocks, rows, place of the sums.
    """

    bias: bool
    act: str
    min_filled: int = 8
    """How many of the sixteen rows must fill a chunk."""
    half: bool = False

    writer = _Writer
    rows: ClassVar[int] = LANES
    width: ClassVar[int] = 1

    @property
    def chunk(self) -> int:
        """Bytes of the weights of a chunk."""
        return LANES * weight_bytes(self.half)
