"""Packs weights into the streams that the kernels read."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from secateur.runtime.codegen.kernels.conv import Conv
from secateur.runtime.codegen.kernels.gather import Gather
from secateur.runtime.codegen.kernels.image import ImageConv
from secateur.runtime.codegen.kernels.spmm import Spmm, chunk_bytes, chunk_weights, weight_bytes

Array = NDArray[Any]
Kernel = Spmm | Gather | Conv | ImageConv


@dataclass(frozen=True, eq=False)
class Packed:
    """One packed weight: the table of blocks, the heads of row groups, the stream of chunks."""

    table: NDArray[np.int64]
    heads: NDArray[np.int32]
    stream: NDArray[np.uint8]
    parts: int
    blocks: int

    @property
    def bytes(self) -> int:
        """Bytes of everything packed."""
        return self.table.nbytes + self.heads.nbytes + self.stream.nbytes


@dataclass(frozen=True, eq=False)
class Csr:
    """The non-zeros of a weight in the order of its rows: the row, column and value of each."""

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    value: NDArray[np.float32]
    shape: tuple[int, int]

    @staticmethod
    def of(weight: NDArray[np.float32]) -> Csr:
        """From a dense matrix; NaN counts as non-zero."""
        rows, columns = weight.shape
        there = weight != 0
        flat = np.flatnonzero(there)
        row = np.repeat(np.arange(rows), np.count_nonzero(there, axis=1))
        return Csr(row, flat - row * columns, weight.reshape(-1)[flat], (rows, columns))


def row_parts(rows: int, parts: int, group: int) -> list[tuple[int, int]]:
    """Ranges of rows of nearly equal length, each a multiple of ``group`` but the last.

    >>> row_parts(10, 2, 4)
    [(0, 8), (8, 10)]
    """
    groups = -(-rows // group)
    edges = [min(rows, group * -(-groups * p // parts)) for p in range(parts + 1)]
    return list(itertools.pairwise(edges))


@dataclass(frozen=True, eq=False)
class Places:
    """Where columns lie in the source, in rows of it; ``zero`` for padding slots, ``dump`` for padding rows.

    ``zero`` None lets padding slots point to the first column of their block: its value times weight 0.
    """

    columns: NDArray[np.int64]
    zero: int | None
    dump: int

    @staticmethod
    def in_order(shape: tuple[int, int]) -> Places:
        """Columns in order, a row of zeros behind them, and behind the output's a row that nobody reads."""
        return Places(np.arange(shape[1]), shape[1], shape[0] + 1)


def pack(weight: Csr, spec: Kernel, block: int, parts: int = 1, places: Places | None = None) -> Packed:
    """Pack a weight for a kernel, in blocks of ``block`` columns and ``parts`` ranges of rows."""
    rows, columns = weight.shape
    places = places or Places.in_order(weight.shape)
    blocks, parts = max(1, -(-columns // block)), max(1, min(parts, -(-rows // spec.rows)))
    table, heads, streams = [], [], []
    head_bytes = stream_bytes = 0
    for start, stop in row_parts(rows, parts, spec.rows):
        lo, hi = np.searchsorted(weight.row, [start, stop])
        part = Csr(weight.row[lo:hi] - start, weight.column[lo:hi], weight.value[lo:hi], (stop - start, columns))
        for index, (head, stream) in enumerate(_pack_part(part, spec, block, blocks, start, places)):
            table.append([int(places.columns[index * block]) * spec.width * 4, len(head), head_bytes, stream_bytes,
                          index == 0, index == blocks - 1])
            heads.append(head.reshape(-1))
            streams.append(stream)
            head_bytes += head.nbytes
            stream_bytes += stream.nbytes
    return Packed(np.array(table, np.int64), np.concatenate(heads), np.concatenate(streams), parts, blocks)


def _pack_part(weight: Csr, spec: Kernel, block: int, blocks: int, start: int,
              places: Places) -> list[tuple[NDArray[np.int32], NDArray[np.uint8]]]:
    """The heads and the stream of every block of columns, for a range of rows.

    In each block, rows are sorted by their count of non-zeros. So the rows of a group have nearly equal counts, the
    kernel loops over full chunks without branches on the data, and few slots are padding.
    """
    rows, _ = weight.shape
    groups = -(-rows // spec.rows)
    where = weight.column // block if blocks > 1 else np.zeros_like(weight.column)
    counts = np.bincount(where * rows + weight.row, minlength=blocks * rows).reshape(blocks, rows)
    order = np.argsort(-counts, axis=1, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.broadcast_to(np.arange(rows), order.shape), axis=1)
    targets = np.full((blocks, groups * spec.rows), places.dump, np.int32)
    targets[:, :rows] = order + start
    position = place[where, weight.row]
    key = (where * groups + position // spec.rows) * spec.rows + position % spec.rows
    entries = _Entries(key, weight.column, weight.value, blocks * groups, spec.rows)
    chunks, forms = entries.common_columns(spec) if spec.grouped else entries.lone_columns()
    return _write(chunks, forms, spec, blocks, groups, targets, block, places)


class _Chunks(NamedTuple):
    """Every weight of the stream: its form, group, rank of its chunk, slot in the chunk's weights and columns."""

    form: Array
    group: Array
    rank: Array
    weight_slot: Array
    column_slot: Array
    column: Array
    value: Array


class _Entries:
    """Non-zeros with the key ``group * rows + row in group``."""

    def __init__(self, key: Array, column: Array, value: Array, groups: int, rows: int):
        self.key, self.column, self.value, self.groups, self.rows = key, column, value, groups, rows

    def lone_columns(self) -> tuple[_Chunks, Array]:
        """All non-zeros as chunks of lone columns, and how many chunks each group has."""
        counts = np.bincount(self.key, minlength=self.groups * self.rows)
        rank = _rank_in_runs(self.key)
        group, row = np.divmod(self.key, self.rows)
        longest = counts.reshape(self.groups, self.rows).max(1, initial=0)
        return (_Chunks(np.zeros_like(self.key), group, rank, row, row, self.column, self.value),
                longest[:, None])

    def common_columns(self, spec: Kernel) -> tuple[_Chunks, Array]:
        """Common columns of a group as chunks of common forms, the others as lone columns; the chunks of each group."""
        group, row = np.divmod(self.key, self.rows)
        width = int(self.column.max(initial=0)) + 1
        cell = group * width + self.column
        masks = np.bincount(cell, weights=np.left_shift(1, row), minlength=1).astype(np.int64)
        cells = np.flatnonzero(masks)
        mask, form, slot, first = self._forms(spec, masks[cells], cells // width)
        keep = form > 0
        lookup = np.full(masks.shape, -1)
        lookup[cells[keep]] = np.flatnonzero(keep)
        home = lookup[cell]
        lone = home < 0
        alone = _Entries(self.key[lone], self.column[lone], self.value[lone], self.groups, self.rows)
        chunks, lone_counts = alone.lone_columns()
        counts = np.zeros((self.groups, len(spec.forms)), np.int64)
        np.maximum.at(counts, (cells[keep] // width, form[keep]), first[keep] + 1)
        counts[:, 0] = lone_counts[:, 0]
        common, own = home[~lone], row[~lone]
        below = _BITS[mask[common] & (np.left_shift(1, own) - 1)]
        before = _weights_before(spec)[form[common], slot[common]]
        parts = (form[common], group[~lone], first[common], before + below, slot[common],
                 self.column[~lone], self.value[~lone])
        return _Chunks(*map(np.concatenate, zip(chunks, parts, strict=True))), counts

    def _forms(self, spec: Kernel, mask: Array, group: Array) -> tuple[Array, Array, Array, Array]:
        """For every occupied cell its mask, form (0: split into lone columns), slot in the form, and rank."""
        form_of, slot_of = np.zeros(1 << spec.rows, np.int64), np.zeros(1 << spec.rows, np.int64)
        partner = np.zeros(1 << spec.rows, np.int64)
        for index, form in enumerate(spec.forms[1:], 1):
            for slot, one in enumerate(form):
                form_of[one], slot_of[one], partner[one] = index, slot, form[1 - slot] if len(form) == 2 else one
        key = group * (1 << spec.rows) + mask
        counts = np.bincount(key, minlength=self.groups << spec.rows)
        rank = _rank_unsorted(key, counts)
        room = counts[group * (1 << spec.rows) + partner[mask]]
        return mask, np.where(rank < room, form_of[mask], 0), slot_of[mask], rank


_BITS = np.array([k.bit_count() for k in range(1 << 8)])


def _weights_before(spec: Kernel) -> Array:
    table = np.zeros((len(spec.forms), spec.rows), np.int64)
    for index, form in enumerate(spec.forms):
        for slot in range(len(form)):
            table[index, slot] = chunk_weights(form[:slot])
    return table


def _rank_in_runs(key: Array) -> Array:
    """The rank of every entry among those of its key, where equal keys are neighbours.

    >>> _rank_in_runs(np.array([4, 4, 1, 7, 7, 7]))
    array([0, 1, 0, 0, 1, 2])
    """
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else key
    return np.arange(len(key)) - np.repeat(starts, np.diff(np.append(starts, len(key))))


def _rank_unsorted(key: Array, counts: Array) -> Array:
    order = np.argsort(key, kind="stable")
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(key), np.int64)
    rank[order] = np.arange(len(key)) - starts[key[order]]
    return rank


def put_weights(stream: NDArray[np.uint8], start: Array, slot: Array, value: Array, half: bool) -> None:
    """Write weights into a stream, ``slot`` weights behind the bytes ``start``: f32, or its upper half (bf16)."""
    if half:
        stream.view(np.uint16)[(start >> 1) + slot] = _bf16(value)
    else:
        stream.view(np.float32)[(start >> 2) + slot] = value


def _bf16(value: Array) -> NDArray[np.uint16]:
    """The bf16 nearest to each f32, ties to even, as torch rounds.

    >>> _bf16(np.array([1.0, 1.00390625, -2.0], np.float32)).tolist()
    [16256, 16256, 49152]
    """
    return torch.from_numpy(np.ascontiguousarray(value, np.float32)).bfloat16().view(torch.uint16).numpy()


def _write(chunks: _Chunks, counts: Array, spec: Kernel, blocks: int, groups: int, targets: Array, block: int,
           places: Places) -> list[tuple[NDArray[np.int32], NDArray[np.uint8]]]:
    """Write the chunks, block by block, group by group, form by form."""
    sizes = np.array([chunk_bytes(form, spec.half) for form in spec.forms])
    spans = counts * sizes
    base = (np.cumsum(spans) - spans.reshape(-1)).reshape(spans.shape)
    total = int(spans.sum())
    stream = np.zeros(total, np.uint8)
    unit = spec.width * 4 // spec.unit
    stream16, each = stream.view(np.uint16), weight_bytes(spec.half)
    _pad(stream16, counts, base, sizes, spec, unit, block, places, groups)
    alone = len(spec.forms) == 1
    start = (base[:, 0][chunks.group] + chunks.rank * sizes[0] if alone else
             base[chunks.group, chunks.form] + chunks.rank * sizes[chunks.form])
    put_weights(stream, start, chunks.weight_slot, chunks.value, spec.half)
    counted = np.array([chunk_weights(form) for form in spec.forms])
    weights = counted[0] if alone else counted[chunks.form]
    first = places.columns[chunks.group // groups * block if blocks > 1 else 0]
    local = (places.columns[chunks.column] - first) * unit
    stream16[(start + each * weights >> 1) + chunks.column_slot] = local
    edges = np.append(base[::groups, 0], total) if groups else np.zeros(blocks + 1, np.int64)
    heads = np.concatenate([part.reshape(blocks, groups, -1) for part in (counts, targets)], axis=2).astype(np.int32)
    return [(heads[k], stream[edges[k]:edges[k + 1]]) for k in range(blocks)]


def _pad(stream16: Array, counts: Array, base: Array, sizes: Array, spec: Kernel, unit: int, block: int,
         places: Places, groups: int) -> None:
    """Point every column slot of lone chunks to the row of zeros; those in use are written over.

    A slot that pointed to an ordinary value would let its NaN or infinity into a row that does not read it.
    """
    total = counts[:, 0]
    owner = np.repeat(np.arange(len(total)), total)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(total) - total, total)
    start = (base[owner, 0] + rank * sizes[0]) // 2 + weight_bytes(spec.half) // 2 * spec.rows
    zero = 0 if places.zero is None else (places.zero - places.columns[owner // groups * block]) * unit
    for slot in range(spec.rows):
        stream16[start + slot] = zero
