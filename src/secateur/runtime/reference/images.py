"""Operators on planes: twins of ``kernels/conv.py``, ``image.py`` and ``planes.py``."""

from __future__ import annotations

import numpy as np

from secateur.runtime.codegen.kernels.planes import Pool
from secateur.runtime.codegen.kernels.spmm import TABLE_WORDS
from secateur.runtime.reference.elementwise import activate, combine
from secateur.runtime.reference.products import add_chunks, first_sums
from secateur.runtime.reference.tiles import Bytes, set_flag, view, write_zeros
from secateur.runtime.schedule.program import KernelStep


def convolution(step: KernelStep, arena: Bytes, *_unused: object) -> None:
    """A sparse convolution, one position of the output after the other."""
    spec, packed = step.spec, step.packed
    assert packed is not None
    source, target, rows, columns, row_step, plane, line, behind = (step.words[k] for k in (0, 1, 8, 9, 10, 11, 12, 13))
    for entry in packed.table.reshape(-1, TABLE_WORDS):
        column0, groups, head, stream, opens, closes = (int(v) for v in entry)
        words = packed.heads.view(np.uint8)[head:].view(np.int32)
        for row in range(rows):
            for column in range(columns):
                at, inputs = stream, arena[source + column0 + row * row_step + column * spec.step:]
                for group in range(groups):
                    size = len(spec.forms) + spec.rows
                    counts, places = np.split(words[group * size:(group + 1) * size], [len(spec.forms)])
                    outs = [view(arena, target + int(p) * plane + row * line + column * spec.width * 4, spec.width)
                            for p in places]
                    sums = first_sums(step, outs, places, bool(opens))
                    at = add_chunks(spec, packed.stream, at, counts, inputs, sums)
                    if closes:
                        set_flag(arena, sums)
                        sums = activate(spec.act, sums)
                    for out, value in zip(outs, sums, strict=True):
                        out[:] = value
    write_zeros(arena, behind, spec.lanes)


def planes(step: KernelStep, arena: Bytes, *_unused: object) -> None:
    """An element-wise operator on rows that lie apart."""
    target, count, rows, size, plane, line, behind, *sources = step.words
    for p in range(count):
        for r in range(rows):
            values = []
            for k, (place, source_plane, source_line) in enumerate(np.reshape(sources, (-1, 3))):
                alone = 1 if step.spec.ragged else step.spec.lanes
                width = alone if k in step.spec.single else size // 4
                one = view(arena, int(place + p * source_plane + r * source_line), width)
                values.append(np.tile(one, size // 4 // width))
            total = combine(step.spec.kind, values)
            set_flag(arena, total)
            view(arena, target + p * plane + r * line, size // 4)[:] = activate(step.spec.act, total)
    write_zeros(arena, behind, step.spec.lanes)


def border(step: KernelStep, arena: Bytes, *_unused: object) -> None:
    """Zeros around every plane."""
    base, count, rows, columns, pad_rows, pad_columns = step.words
    inside = view(arena, base, count * rows * columns * step.spec.lanes).reshape(count, rows, columns, -1)
    inside[:, :pad_rows] = inside[:, rows - pad_rows:] = 0
    inside[:, :, :pad_columns] = inside[:, :, columns - pad_columns:] = 0


def pool(step: KernelStep, arena: Bytes, *_unused: object) -> None:
    """Max or average over windows, cut at the edge of the plane."""
    source, target, count, height, width, rows, columns, plane, line, out_plane, out_line, behind = step.words
    spec = step.spec if isinstance(step.spec, Pool) else Pool(1, step.spec.kind, step.spec.window, step.spec.stride,
                                                              (0, 0), True)
    bytes_ = spec.lanes * 4
    for p, r, c in np.ndindex(count, rows, columns):
        low, left = r * spec.stride[0] - spec.padding[0], c * spec.stride[1] - spec.padding[1]
        window = np.array([view(arena, source + p * plane + y * line + x * bytes_, spec.lanes)
                           for y in range(max(low, 0), min(low + spec.window[0], height))
                           for x in range(max(left, 0), min(left + spec.window[1], width))])
        ends = [min(at + spec.window[k], size + spec.padding[k]) for k, (at, size) in enumerate(((low, height),
                                                                                                (left, width)))]
        number = (ends[0] - low) * (ends[1] - left) if spec.with_padding else len(window)
        number = spec.divisor or number
        value = window.max(0) if spec.kind == "max" else window.sum(0) / np.float32(number)
        view(arena, target + p * out_plane + r * out_line + c * bytes_, spec.lanes)[:] = value
    write_zeros(arena, behind, step.spec.lanes)
