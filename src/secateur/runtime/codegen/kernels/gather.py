"""Sparse weights times one vector: the kernel for batch 1.

As many rows as a register has lanes go together, sorted by their count of non-zeros; the stream is
that of :class:`~secateur.runtime.codegen.kernels.spmm.Spmm` with lone columns, and each chunk gathers its
activations from the vector, which stays in the first cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from llvmlite import ir

from secateur.runtime.codegen.ir import F32, I1, I8, I16, I32, I64, WORD, Emit, vector
from secateur.runtime.codegen.isa import Isa
from secateur.runtime.codegen.kernels import activation
from secateur.runtime.codegen.kernels.base import Kernel, KernelWriter
from secateur.runtime.codegen.kernels.spmm import AHEAD, TABLE_WORDS, chunk_bytes, lone_columns, weight_bytes


class VectorWriter(KernelWriter):
    """Writes a product with one vector: part by part, a zero behind the output, the flag."""

    spec: Any
    part_words = TABLE_WORDS

    def write(self) -> str:
        """The whole kernel."""
        e = self.e
        self.source, self.target = self.place(1), self.place(2)
        self.table, self.heads, self.stream, self.bias = (e.pointer(self.step, k) for k in (3, 4, 5, 6))
        self.start_flag(self.spec.rows)
        with e.loop(self.part, self.word(7), self.parts) as part:
            self.one_part(e.at(self.table, e.times(part, self.part_words * WORD)))
        with self.first_part():
            e.store(e.scalar(0.0), e.at(self.target, e.times(self.word(9), 4)))
        return self.finish()

    def one_part(self, entry: Any) -> None:
        """One range of rows."""
        raise NotImplementedError

    def group(self, head: Any, cursor: Any, start: Any) -> None:
        """A group of rows: its chunks added to ``start``, then bias and activation, each row stored in its place."""
        e, rows, half = self.e, self.spec.rows, self.spec.half
        size = chunk_bytes(lone_columns(rows)[0], half)
        first, span, total = e.get(cursor), e.times(e.index32(head), size), e.var(start)
        with e.loop(0, span, size) as offset:
            chunk = e.at(first, offset)
            # A chunk of 16 rows has 96 bytes: two prefetches of a line of 64.
            for ahead in (AHEAD, AHEAD + 64):
                e.prefetch(e.at(chunk, ahead))
            columns = e.load(e.at(chunk, weight_bytes(half) * rows), ir.VectorType(I16, rows), 2)
            index, weights = e.b.zext(columns, ir.VectorType(I32, rows)), e.weights(chunk, rows, half)
            e.set(total, e.fma(weights, gather(e, self.isa, self.source, index), e.get(total)))
        e.set(cursor, e.at(first, span))
        places, value = e.load(e.at(head, 4), ir.VectorType(I32, rows)), e.get(total)
        if self.spec.bias:
            value = e.b.fadd(value, gather(e, self.isa, self.bias, places))
        self.check(value)
        _scatter(e, activation.emit(e, self.spec.act, value), places, self.target)


class _Writer(VectorWriter):
    def one_part(self, entry: Any) -> None:
        e = self.e
        heads = e.at(self.heads, e.word(entry, 2))
        cursor = e.var(e.at(self.stream, e.word(entry, 3)))
        with e.loop(0, e.word(entry, 1)) as group:
            self.group(e.at(heads, e.times(group, 4 * (1 + self.spec.rows))), cursor, self.zero)


def _scatter(e: Emit, value: Any, rows: Any, target: Any) -> None:
    """``target[rows] = value`` for a vector of 32-bit rows."""
    for lane in range(value.type.count):
        place = ir.Constant(I32, lane)
        row = e.b.sext(e.b.extract_element(rows, place), I64)
        e.store(e.b.extract_element(value, place), e.at(target, e.times(row, 4)))


def gather(e: Emit, isa: Isa, base: Any, index: Any) -> Any:
    """``base[index]`` for a vector of 32-bit indices of f32 values."""
    lanes = index.type.count
    if isa.name == "avx512" and lanes == 16:
        full = ir.Constant(ir.VectorType(I1, lanes), [1] * lanes)
        return e.call("llvm.x86.avx512.mask.gather.dps.512", vector(lanes),
                      [e.const(0.0, lanes), base, index, full, ir.Constant(I32, 4)])
    if isa.arch == "x86_64" and lanes == 8:
        mask = e.b.bitcast(ir.Constant(ir.VectorType(I32, lanes), [-1] * lanes), vector(lanes))
        return e.call("llvm.x86.avx2.gather.d.ps.256", vector(lanes),
                      [e.const(0.0, lanes), base, index, mask, ir.Constant(I8, 4)])
    value = e.const(0.0, lanes)
    for lane in range(lanes):
        offset = e.b.sext(e.b.extract_element(index, ir.Constant(I32, lane)), I64)
        value = e.b.insert_element(value, e.load(e.at(base, e.times(offset, 4)), F32), ir.Constant(I32, lane))
    return value


@dataclass(frozen=True)
class Gather(Kernel):
    """The kernel ``out[row] = act(bias[row] + sum(weight * in[column]))`` for one row of the batch.

    Words of a step: function, in, out, table, heads, stream, bias, parts, blocks, rows.
    """

    lanes: int
    bias: bool
    act: str
    half: bool = False

    writer = _Writer
    width: ClassVar[int] = 1
    unit: ClassVar[int] = 4
    grouped: ClassVar[bool] = False

    @property
    def rows(self) -> int:
        """Rows of the weight that go together."""
        return self.lanes

    @property
    def forms(self) -> tuple[tuple[int, ...], ...]:
        """The only form: every row a column of its own."""
        return lone_columns(self.lanes)
