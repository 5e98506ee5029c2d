"""Sparse products, for tiles and for one vector: twins of ``kernels/spmm.py``, ``gather.py`` and ``permute.py``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from secateur.runtime.codegen.kernels.spmm import TABLE_WORDS, chunk_bytes, chunk_weights
from secateur.runtime.reference.elementwise import activate
from secateur.runtime.reference.tiles import Bytes, Floats, set_flag, tile, view
from secateur.runtime.schedule.program import KernelStep


def product(step: KernelStep, arena: Bytes, *_unused: object) -> None:
    """A sparse product, chunk by chunk as the stream says."""
    spec, packed = step.spec, step.packed
    assert packed is not None
    source, target = step.words[0], step.words[1]
    rows = step.words[8]
    out = tile(arena, target, rows + 2, spec.width)
    for entry in packed.table.reshape(-1, TABLE_WORDS):
        column0, groups, head, stream, opens, closes = (int(v) for v in entry)
        columns = arena[source + column0:]
        words = packed.heads.view(np.uint8)[head:].view(np.int32)
        for group in range(groups):
            size = len(spec.forms) + spec.rows
            counts, places = np.split(words[group * size:(group + 1) * size], [len(spec.forms)])
            sums: Floats = first_sums(step, out[places], places, bool(opens))
            stream = add_chunks(spec, packed.stream, stream, counts, columns, sums)
            if closes:
                set_flag(arena, sums)
                sums = activate(spec.act, sums)
            out[places] = sums
    out[rows] = 0


def first_sums(step: KernelStep, old: Floats | Sequence[Floats], places: Any, fresh: bool) -> Floats:
    """The sums of a group of rows before a chunk: the bias, or what earlier blocks of columns left."""
    if not fresh:
        return np.array(old)
    sums = np.zeros((len(places), step.spec.width), np.float32)
    if step.bias is not None:
        sums[:] = step.bias[places + 1, None]
    return sums


def add_chunks(spec: Any, stream: Bytes, at: int, counts: Any, columns: Bytes, sums: Floats) -> int:
    """Add the chunks of a group to its sums; where the stream goes on."""
    for form, count in zip(spec.forms, counts, strict=True):
        for _ in range(count):
            weights = read_weights(stream[at:], chunk_weights(form), spec.half)
            taken = 0
            for slot, mask in enumerate(form):
                index = int(stream[at + (2 if spec.half else 4) * len(weights) + 2 * slot:][:2].view(np.uint16)[0])
                values = view(columns, index * spec.unit, spec.width)
                for row in (r for r in range(spec.rows) if mask >> r & 1):
                    sums[row] += weights[taken] * values
                    taken += 1
            at += chunk_bytes(form, spec.half)
    return at


def read_weights(stream: Bytes, count: int, half: bool) -> Floats:
    """The weights that a stream begins with; a bf16 is the upper half of an f32."""
    if not half:
        return stream[:4 * count].view(np.float32)
    return (stream[:2 * count].view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def permute(step: KernelStep, arena: Bytes, *_unused: object) -> None:
    """A sparse product with one vector, run by run as the table says."""
    packed, rows, places = step.packed, step.words[8], step.words[9]
    assert packed is not None
    source, out = arena[step.words[0]:], view(arena, step.words[1], rows + 2)
    stream, size = packed.stream, 32 if step.spec.half else 64
    for begin, count, head, at, ends, left, groups, offset in packed.table[:8 * packed.parts].reshape(-1, 8).tolist():
        sums = tile(arena, places + offset, groups, 16)
        sums[:] = 0
        group = iter(packed.heads[head // 4:])
        for column, sixes, rest, length in packed.table[begin // 8:begin // 8 + 4 * count].reshape(-1, 4).tolist():
            for place in itertools.islice(group, length):
                for chunks in [6] * sixes + [rest] * (rest > 0):
                    at = _add_six(stream, at, chunks, step.spec.half, view(source, column, 32), sums[place // 64])
        for line, words in zip(sums, packed.heads[ends // 4:].reshape(-1)[:17 * groups].reshape(-1, 17), strict=True):
            for _ in range(words[0]):
                columns = stream[left + size:left + size + 32].view(np.uint16).astype(int)
                line += read_weights(stream[left:], 16, step.spec.half) * source.view(np.float32)[columns]
                left += size + 32
            value = line if step.bias is None else line + step.bias[words[1:] + 1]
            set_flag(arena, value)
            out[words[1:]] = activate(step.spec.act, value)
    out[rows] = 0


def _add_six(stream: Bytes, at: int, chunks: int, half: bool, columns: Floats, sums: Floats) -> int:
    """Add up to six chunks that share a register of indices; where the stream goes on."""
    size, each = 64 if chunks > 3 else 32, 32 if half else 64
    index = stream[at:at + size].view(np.uint32 if chunks > 3 else np.uint16).astype(int)
    for chunk in range(chunks):
        place = at + size + each * chunk
        sums += read_weights(stream[place:], 16, half) * columns[index >> 5 * chunk & 31]
    return at + size + each * chunks
