"""Sparse weights times one vector: the kernel for batch 1.

As many rows as a register has lanes go together, sorted by their count of non-zeros; the stream is
that of :class:`~secateur.runtime.codegen.kernels.spmm.Spmm` with lone columns, and each chunk gathers its
activations from the vector, which stays in the first cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from secateur.runtime.codegen.ir import F32, I1, I8, I16, I32, Emit, vector
from secateur.runtime.codegen.isa import Isa
from secateur.runtime.codegen.kernels import activation
from secateur.runtime.codegen.kernels.spmm import AHEAD, TABLE_WORDS, add_flag, chunk_bytes, singles, weight_bytes


@dataclass(frozen=True)
class Gather:
    """The kernel ``out[row] = act(bias[row] + sum(weight * in[column]))`` for one row of the batch.

    Words of a step: function, in, out, table, heads, stream, bias, parts, blocks, rows.
    """

    lanes: int
    bias: bool
    act: str
    unit: int = 4
    grouped: bool = False
    half: bool = False

    @property
    def rows(self) -> int:
        """Rows of the weight that go together."""
        return self.lanes

    @property
    def forms(self) -> tuple[tuple[int, ...], ...]:
        """The only form: every row a column of its own."""
        return singles(self.lanes)

    @property
    def width(self) -> int:
        """Batch rows in a tile."""
        return 1

    def text(self, name: str, isa: Isa) -> str:
        """The kernel's IR."""
        return _Writer(self, Emit(name), isa).write()


class VectorWriter:
    """Writes a product with one vector: part by part, a zero behind the output, the flag."""

    part_words = TABLE_WORDS

    def __init__(self, spec: Any, e: Emit, isa: Isa):
        self.spec, self.e, self.isa = spec, e, isa
        self.step, self.arena, self.part, self.parts = e.args[0], e.args[1], e.args[5], e.args[6]

    def write(self) -> str:
        """The whole kernel."""
        e = self.e
        self.source, self.target = (e.at(self.arena, e.word(self.step, k)) for k in (1, 2))
        self.table, self.heads, self.stream, self.bias = (e.pointer(self.step, k) for k in (3, 4, 5, 6))
        self.zero = e.const(0.0, self.spec.rows)
        self.flag = e.var(self.zero)
        with e.loop(self.part, e.word(self.step, 7), self.parts) as part:
            self.one_part(e.at(self.table, e.b.mul(part, e.i(self.part_words * 8))))
        with e.b.if_then(e.b.icmp_signed("==", self.part, e.i(0))):
            e.store(ir.Constant(F32, 0.0), e.at(self.target, e.b.mul(e.word(self.step, 9), e.i(4))))
        add_flag(e, e.at(self.arena, e.b.mul(self.part, e.i(64))), e.get(self.flag))
        return e.finish()

    def one_part(self, entry: Any) -> None:
        """One range of rows."""
        raise NotImplementedError

    def group(self, head: Any, cursor: Any, start: Any) -> None:
        """The chunks of a group of rows added to where its sums start; bias, activation, the rows to their places."""
        e, rows, half = self.e, self.spec.rows, self.spec.half
        size = chunk_bytes(singles(rows)[0], half)
        first, span, acc = e.get(cursor), e.b.mul(e.index32(head), e.i(size)), e.var(start)
        with e.loop(0, span, size) as offset:
            chunk = e.at(first, offset)
            for ahead in (AHEAD, AHEAD + 64):
                e.prefetch(e.at(chunk, ahead))
            columns = e.load(e.at(chunk, weight_bytes(half) * rows), ir.VectorType(I16, rows), 2)
            index, weights = e.b.zext(columns, ir.VectorType(I32, rows)), e.weights(chunk, rows, half)
            e.set(acc, e.fma(weights, gather(e, self.isa, self.source, index), e.get(acc)))
        e.set(cursor, e.at(first, span))
        self._finish(e.load(e.at(head, 4), ir.VectorType(I32, rows)), e.get(acc))

    def _finish(self, rows: Any, value: Any) -> None:
        e = self.e
        if self.spec.bias:
            value = e.b.fadd(value, gather(e, self.isa, self.bias, rows))
        e.set(self.flag, e.fma(value, self.zero, e.get(self.flag)))
        scatter(e, activation.emit(e, self.spec.act, value), rows, self.target)


class _Writer(VectorWriter):
    def one_part(self, entry: Any) -> None:
        e = self.e
        heads = e.at(self.heads, e.word(entry, 2))
        cursor = e.var(e.at(self.stream, e.word(entry, 3)))
        with e.loop(0, e.word(entry, 1)) as group:
            self.group(e.at(heads, e.b.mul(group, e.i(4 * (1 + self.spec.rows)))), cursor, self.zero)


def scatter(e: Emit, value: Any, rows: Any, target: Any) -> None:
    """``target[rows] = value`` for a vector of 32-bit rows."""
    for lane in range(value.type.count):
        place = ir.Constant(I32, lane)
        row = e.b.sext(e.b.extract_element(rows, place), ir.IntType(64))
        e.store(e.b.extract_element(value, place), e.at(target, e.b.mul(row, e.i(4))))


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
        offset = e.b.sext(e.b.extract_element(index, ir.Constant(I32, lane)), ir.IntType(64))
        one = e.load(e.at(base, e.b.mul(offset, e.i(4))), F32)
        value = e.b.insert_element(value, one, ir.Constant(I32, lane))
    return value
