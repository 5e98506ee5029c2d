"""Packs weights into the stream that the kernel for one vector without gathers reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.runtime.codegen.kernels.permute import (
    BITS,
    BLOCK,
    LANES,
    LINE,
    PART_WORDS,
    RUN_WORDS,
    SIX,
    Permute,
    index_bytes,
)
from secateur.runtime.packing.pack import Csr, Packed, Places, put_weights, row_parts

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class _Part:
    """The packed pieces of a range of rows; ``runs`` are those of the table."""

    runs: NDArray[np.int64]
    heads: NDArray[np.int32]
    stream: NDArray[np.uint8]
    ends: NDArray[np.int32]
    rest: NDArray[np.uint8]


def pack_permute(weight: Csr, spec: Permute, parts: int = 1) -> Packed:
    """Pack a weight for one vector, in ``parts`` ranges of rows; ``blocks`` of the result means nothing."""
    rows = weight.shape[0]
    parts = max(1, min(parts, -(-rows // LANES)))
    packed = [_part(weight, start, stop, spec, Places.in_order(weight.shape).dump)
              for start, stop in row_parts(rows, parts, LANES)]
    table = np.zeros((parts, PART_WORDS), np.int64)
    runs = parts * PART_WORDS * 8
    heads = stream = sums = 0
    for line, part in zip(table, packed, strict=True):
        groups = len(part.ends)
        line[:] = (runs, len(part.runs), heads, stream, heads + part.heads.nbytes, stream + part.stream.nbytes, groups,
                   sums)
        runs, sums = runs + part.runs.nbytes, sums + groups * LINE
        heads, stream = heads + part.heads.nbytes + part.ends.nbytes, stream + part.stream.nbytes + part.rest.nbytes
    return Packed(np.concatenate([table.reshape(-1), *(p.runs.reshape(-1) for p in packed)]),
                  np.concatenate([a.reshape(-1) for p in packed for a in (p.heads, p.ends)]),
                  np.concatenate([a for p in packed for a in (p.stream, p.rest)]), parts, 1)


def sums_bytes(rows: int, parts: int) -> int:
    """Bytes of the sums of all groups of rows."""
    return LINE * sum(-(-(stop - start) // LANES) for start, stop in row_parts(rows, max(1, parts), LANES))


def _part(weight: Csr, start: int, stop: int, spec: Permute, dump: int) -> _Part:
    lo, hi = np.searchsorted(weight.row, [start, stop])
    row, column, value = weight.row[lo:hi] - start, weight.column[lo:hi], weight.value[lo:hi]
    blocks, groups = -(-weight.shape[1] // BLOCK), -(-(stop - start) // LANES)
    order = np.argsort(-np.bincount(row, minlength=stop - start), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    block, lane = column // BLOCK, place[row]
    cell = lane * blocks + block
    counts = np.bincount(row * blocks + block, minlength=len(order) * blocks)
    rank = np.arange(len(row)) - (np.cumsum(counts) - counts)[row * blocks + block]
    filled = np.bincount(cell, minlength=groups * LANES * blocks).reshape(groups, LANES, blocks)
    chunks = -np.partition(-filled, spec.min_filled - 1, axis=1)[:, spec.min_filled - 1]
    group = lane // LANES
    main = rank < chunks[group, block]
    runs, heads, base, total = _runs(chunks, spec)
    stream = _write(spec, base, total, chunks, group[main], block[main], lane[main] % LANES, rank[main], column[main],
                    value[main])
    longest, rest = _pack_gathered(spec, lane[~main], column[~main], value[~main], groups)
    places = np.full(groups * LANES, dump)
    places[:len(order)] = order + start
    ends = np.concatenate([longest[:, None], places.reshape(groups, LANES)], axis=1).astype(np.int32)
    return _Part(runs, heads, stream, ends, rest)


def _runs(chunks: Array, spec: Permute) -> tuple[NDArray[np.int64], NDArray[np.int32], Array, int]:
    """The table of runs, the sums' places in their order, where every group's chunks of a block begin, the end."""
    groups, blocks = chunks.shape
    order = np.argsort(-chunks, axis=0, kind="stable").T.reshape(-1)
    block = np.repeat(np.arange(blocks), groups)
    count = chunks[order, block]
    order, block, count = order[count > 0], block[count > 0], count[count > 0]
    rests = np.array([index_bytes(n) + n * spec.chunk for n in range(SIX)])
    size = count // SIX * _six_bytes(spec) + rests[count % SIX]
    base = np.zeros(chunks.shape, np.int64)
    base[order, block] = np.cumsum(size) - size
    first = np.flatnonzero(np.diff(block * (BLOCK + 1) + count, prepend=-1))
    lengths = np.diff(first, append=len(order))
    runs = np.stack([block[first] * BLOCK * 4, count[first] // SIX, count[first] % SIX, lengths], axis=1)
    assert runs.shape[1] == RUN_WORDS
    return runs.astype(np.int64), (order * LINE).astype(np.int32), base, int(size.sum())


def _six_bytes(spec: Permute) -> int:
    """Bytes of six chunks with their indices."""
    return LINE + SIX * spec.chunk


def _write(spec: Permute, base: Array, total: int, chunks: Array, group: Array, block: Array, lane: Array,
           rank: Array, column: Array, value: Array) -> NDArray[np.uint8]:
    """The stream of chunks; slots that no weight fills multiply the block's first column by zero."""
    stream = np.zeros(total, np.uint8)
    six, slot = np.divmod(rank, SIX)
    rest = np.where(six < chunks[group, block] // SIX, SIX, chunks[group, block] % SIX)
    indices = np.where(rest > 3, LINE, LINE // 2)
    start = base[group, block] + six * _six_bytes(spec)
    put_weights(stream, start + indices + slot * spec.chunk, lane, value, spec.half)
    local = (column % BLOCK).astype(np.uint32)
    for wide, view in ((True, stream.view(np.uint32)), (False, stream.view(np.uint16))):
        for k in range(SIX if wide else 3):
            chosen = (slot == k) & ((rest > 3) == wide)
            place = start[chosen] // view.itemsize + lane[chosen]
            view[place] |= (local[chosen] << np.uint32(BITS * k)).astype(view.dtype)
    return stream


def _pack_gathered(spec: Permute, lane: Array, column: Array, value: Array,
                   groups: int) -> tuple[Array, NDArray[np.uint8]]:
    """The chunks of the weights that are gathered: how many each group has, and their stream."""
    counts = np.bincount(lane, minlength=groups * LANES)
    by_lane = np.argsort(lane, kind="stable")
    lane, column, value = lane[by_lane], column[by_lane], value[by_lane]
    rank = np.arange(len(lane)) - (np.cumsum(counts) - counts)[lane]
    longest = counts.reshape(groups, LANES).max(1, initial=0)
    size = spec.chunk + 2 * LANES
    stream = np.zeros(int(longest.sum()) * size, np.uint8)
    start = ((np.cumsum(longest) - longest)[lane // LANES] + rank) * size
    put_weights(stream, start, lane % LANES, value, spec.half)
    stream.view(np.uint16)[(start + spec.chunk) // 2 + lane % LANES] = column
    return longest, stream
