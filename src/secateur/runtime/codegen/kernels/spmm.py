"""Sparse weights times a feature-major tile of activations: the kernel for batches of two and more.

A tile holds ``tiles`` registers of ``lanes`` batch rows for every feature. Rows of the weight go in
groups of ``rows``; their non-zeros come as one packed stream of *chunks*. A chunk of a *form* holds
one column for each of the form's row masks: the form ``(1, 2, 4, 8)`` gives four rows one column
each, ``(3, 12)`` gives rows 0 and 1 a common column and rows 2 and 3 another, ``(15,)`` gives all
four the same one. Common columns load the activations once; several masks in one chunk keep enough
sums in flight. Columns go in blocks, so that the part of the tile in use stays in the first cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from secateur.runtime.codegen.ir import F32, WORD, vector
from secateur.runtime.codegen.kernels import activation
from secateur.runtime.codegen.kernels.base import Kernel, KernelWriter

TABLE_WORDS = 6
"""Words of a block in the table: column of its first input, groups, heads, stream, is it the first, is it the last."""
AHEAD = 3072
"""Bytes ahead of its use at which the stream is prefetched. At narrow tiles that nearly halves the time with cold
weights; at wide ones it is slower, so they do without."""


def lone_columns(rows: int) -> tuple[tuple[int, ...], ...]:
    """The only form of a kernel without common columns."""
    return (tuple(1 << r for r in range(rows)),)


GROUPED: dict[int, tuple[tuple[int, ...], ...]] = {
    2: ((1, 2), (3,)),
    4: ((1, 2, 4, 8), (3, 12), (5, 10), (6, 9), (7,), (11,), (13,), (14,), (15,)),
}
"""The forms with common columns, by rows of a group. A pair of rows goes with the other pair, so that four sums stay
in flight; the masks of three rows and of all four stand alone."""


def chunk_weights(form: tuple[int, ...]) -> int:
    """How many weights a chunk holds."""
    return sum(mask.bit_count() for mask in form)


def chunk_bytes(form: tuple[int, ...], half: bool = False) -> int:
    """Weights of 32 bits, or 16, then 16-bit columns, to a multiple of four bytes."""
    return (weight_bytes(half) * chunk_weights(form) + 2 * len(form) + 3) // 4 * 4


def weight_bytes(half: bool) -> int:
    """Bytes of a stored weight."""
    return 2 if half else 4


class ProductWriter(KernelWriter):
    """Writes a sparse product; a convolution overrides where rows lie and what is repeated."""

    spec: Any

    def write(self) -> str:
        """The whole kernel."""
        e, spec = self.e, self.spec
        self.tiles, self.row_bytes = spec.tiles, spec.width * 4
        self.source, self.target = self.place(1), self.place(2)
        self.table, self.heads, self.stream, self.bias = (e.pointer(self.step, k) for k in (3, 4, 5, 6))
        blocks = self.word(8)
        self.zero = e.const(0.0, spec.lanes)
        # Hidden from LLVM, which would fold the permutation of a loaded register back into a load for every weight.
        self.picks = [e.opaque(k, spec.lanes) for k in range(8)] if spec.permute and spec.lanes >= 8 else []
        self.start_flag(spec.lanes)
        self.sums = [[e.var(self.zero) for _ in range(spec.tiles)] for _ in range(spec.rows)]
        with e.loop(self.part, self.word(7), self.parts) as part, e.loop(0, blocks) as block:
            entry = e.b.add(e.b.mul(part, blocks), block)
            self.block(e.at(self.table, e.times(entry, TABLE_WORDS * WORD)))
        self.zero_row()
        return self.finish()

    def zero_row(self) -> None:
        """Zeros behind the output."""
        e = self.e
        with self.first_part():
            row = e.at(self.target, e.times(self.word(9), self.row_bytes))
            for t in range(self.spec.tiles):
                e.store(self.zero, e.at(row, t * self.spec.lanes * 4))

    def block(self, entry: Any) -> None:
        """One block of columns of one part."""
        self.groups(entry, self.e.at(self.source, self.e.word(entry, 0)))

    def target_of(self, row: Any) -> Any:
        """Where the sums of a row go."""
        return self.e.at(self.target, self.e.times(row, self.row_bytes))

    def groups(self, entry: Any, columns: Any) -> None:
        """All groups of rows of a block, for one tile."""
        e, spec = self.e, self.spec
        head_bytes = 4 * (len(spec.forms) + spec.rows)
        heads = e.at(self.heads, e.word(entry, 2))
        cursor = e.var(e.at(self.stream, e.word(entry, 3)))
        first, last = (e.b.icmp_signed("!=", e.word(entry, k), e.i(0)) for k in (4, 5))
        with e.loop(0, e.word(entry, 1)) as group:
            self._group(e.at(heads, e.times(group, head_bytes)), columns, cursor, first, last)

    def _group(self, head: Any, columns: Any, cursor: Any, first: Any, last: Any) -> None:
        e, spec = self.e, self.spec
        rows = [e.index32(e.at(head, 4 * (len(spec.forms) + r))) for r in range(spec.rows)]
        targets = [self.target_of(row) for row in rows]
        with e.b.if_else(first) as (fresh, more):
            with fresh:
                self._start(rows)
            with more:
                self._each(targets, lambda total, place, _: e.set(total, e.load(place, vector(spec.lanes))))
        for index, form in enumerate(spec.forms):
            self._form(form, e.index32(e.at(head, 4 * index)), columns, cursor)
        with e.b.if_then(last):
            self._each(targets, lambda total, _, tile: self._end(total, tile))
        self._each(targets, lambda total, place, tile: self.keep(e.get(total), place, tile))

    def _each(self, targets: list[Any], action: Any) -> None:
        for r, target in enumerate(targets):
            for t in range(self.tiles):
                action(self.sums[r][t], self.e.at(target, self.offset(t)), t)

    def offset(self, tile: int) -> int:
        """Bytes from the first register of a row of the output to another."""
        return int(tile * self.spec.lanes * 4)

    def keep(self, value: Any, place: Any, tile: int) -> None:
        """Store the sums of a register."""
        del tile
        self.e.store(value, place)

    def watch(self, value: Any, tile: int) -> None:
        """Look for NaN and infinity in the sums of a register."""
        del tile
        self.check(value)

    def _start(self, rows: list[Any]) -> None:
        e, spec = self.e, self.spec
        for r, row in enumerate(rows):
            value = self.zero
            if spec.bias:
                value = e.splat(e.load(e.at(self.bias, e.times(row, 4)), F32), spec.lanes)
            for t in range(self.tiles):
                e.set(self.sums[r][t], value)

    def _end(self, total: Any, tile: int) -> None:
        value = self.e.get(total)
        self.watch(value, tile)
        self.e.set(total, activation.emit(self.e, self.spec.act, value))

    def _form(self, form: tuple[int, ...], count: Any, columns: Any, cursor: Any) -> None:
        e, size = self.e, chunk_bytes(form, self.spec.half)
        start = e.get(cursor)
        with e.loop(0, e.times(count, size), size) as offset:
            chunk, taken = e.at(start, offset), 0
            weights = self._weights(chunk, chunk_weights(form))
            if self.spec.tiles == 1:
                e.prefetch(e.at(chunk, AHEAD))
            for s, mask in enumerate(form):
                index = e.index16(e.at(chunk, weight_bytes(self.spec.half) * chunk_weights(form) + 2 * s))
                column = e.at(columns, e.times(index, self.spec.unit))
                taken += self._column(mask, column, weights, taken)
        e.set(cursor, e.at(start, e.times(count, size)))

    def _weights(self, chunk: Any, count: int) -> Callable[[int], Any]:
        """The weights of a chunk, each spread over a register: from memory, or out of one register."""
        e, lanes, half = self.e, self.spec.lanes, self.spec.half
        if not self.spec.permute or lanes < 8 or count not in (4, 8):
            return lambda k: e.splat(e.weights(e.at(chunk, weight_bytes(half) * k), 1, half), lanes)
        few = e.weights(chunk, count, half)
        held = few if count == lanes else e.shuffle(few, few, [k % count for k in range(lanes)])
        name = "llvm.x86.avx512.permvar.sf.512" if lanes == 16 else "llvm.x86.avx2.permps"
        return lambda k: e.call(name, vector(lanes), [held, self.picks[k]])

    def inputs(self, column: Any) -> list[Any]:
        """The registers of a column."""
        spec = self.spec
        return [self.e.load(self.e.at(column, t * spec.step), vector(spec.lanes)) for t in range(self.tiles)]

    def _column(self, mask: int, column: Any, weights: Callable[[int], Any], taken: int) -> int:
        """Add one column to the rows of a mask, whose weights begin at ``taken``; returns how many they are."""
        e, spec = self.e, self.spec
        rows = [r for r in range(spec.rows) if mask >> r & 1]
        values = self.inputs(column)
        for k, r in enumerate(rows):
            weight = weights(taken + k)
            for t in range(self.tiles):
                e.set(self.sums[r][t], e.fma(weight, values[t], e.get(self.sums[r][t])))
        return len(rows)


@dataclass(frozen=True, kw_only=True)
class Product(Kernel):
    """The parameters of every kernel with a packed stream of chunks.

    ``lanes`` are those of a register, ``rows`` the rows of the weight that go together, with common columns where it
    is ``grouped``; ``permute`` spreads a weight out of a register in place of memory, ``half`` weights are bf16.
    """

    lanes: int
    rows: int
    grouped: bool
    bias: bool
    act: str
    permute: bool = False
    half: bool = False

    @property
    def forms(self) -> tuple[tuple[int, ...], ...]:
        """The forms of chunks, in the order of the stream."""
        return GROUPED[self.rows] if self.grouped else lone_columns(self.rows)


@dataclass(frozen=True, kw_only=True)
class Spmm(Product):
    """The kernel ``out[row] = act(bias[row] + sum(weight * in[column]))`` over tiles of ``tiles`` registers.

    ``unit`` are the bytes that one step of a column's index means.
    Words of a step: function, in, out, table, heads, stream, bias, parts, blocks, rows.
    """

    tiles: int
    unit: int

    writer = ProductWriter

    @property
    def width(self) -> int:
        """Batch rows in a tile."""
        return self.lanes * self.tiles

    @property
    def step(self) -> int:
        """Bytes between the registers of a column."""
        return self.lanes * 4
