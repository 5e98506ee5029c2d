"""The slow, obvious twin of every kernel: the same words, streams and arenas, read by numpy.

``run`` does what the compiled driver does, tile by tile and step by step; ``STEPS`` has one function
a kernel. Nothing here is fast, and nothing here shares code with the generators.
"""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.runtime.kernels.conv import Conv
from secateur.runtime.kernels.gather import Gather
from secateur.runtime.kernels.image import ImageConv, ImagePool
from secateur.runtime.kernels.permute import Permute
from secateur.runtime.kernels.planes import Border, Planes, Pool
from secateur.runtime.kernels.pointwise import Pointwise
from secateur.runtime.kernels.rows import Norm, Softmax
from secateur.runtime.kernels.scale import Scale
from secateur.runtime.kernels.spmm import TABLE_WORDS, Spmm, chunk_bytes, chunk_weights
from secateur.runtime.kernels.transpose import Enter, Leave
from secateur.runtime.program import Program, Step

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_erf = np.vectorize(math.erf, otypes=[np.float64])

ACTIVATIONS: dict[str, Callable[[Any, float], Any]] = {
    "none": lambda x, _: x,
    "relu": lambda x, _: np.where(x < 0, 0, x),
    "relu6": lambda x, _: np.where(x < 0, 0, np.where(x > 6, 6, x)),
    "leaky_relu": lambda x, slope: np.where(x < 0, slope * x, x),
    "sigmoid": lambda x, _: 1 / (1 + np.exp(-x)),
    "silu": lambda x, _: x / (1 + np.exp(-x)),
    "tanh": lambda x, _: np.tanh(x),
    "gelu": lambda x, _: x * (1 + _erf(x * math.sqrt(0.5))) / 2,
    "gelu_tanh": lambda x, _: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "hardsigmoid": lambda x, _: np.clip(x + 3, 0, 6) / 6,
    "hardswish": lambda x, _: x * np.clip(x + 3, 0, 6) / 6,
}


def activate(name: str, x: Floats) -> Floats:
    """An activation by name, computed in f64."""
    kind, _, number = name.partition(":")
    return np.asarray(ACTIVATIONS[kind](x.astype(np.float64), float(number or 0)), np.float32)


def run(program: Program, arrays: Sequence[Floats], rows: int) -> bool:
    """Run a program on batch-first arrays, inputs then outputs; whether a value was NaN or infinite."""
    arena = np.zeros(program.arena_bytes, np.uint8)
    for first in range(0, rows, program.width):
        for step in program.steps:
            run_step(step, arena, arrays, first, min(program.width, rows - first))
    return bool(np.isnan(view(arena, 0, 16)).any())


def run_step(step: Step, arena: Bytes, arrays: Sequence[Floats], first: int, valid: int) -> None:
    """Run one step on one tile."""
    with np.errstate(all="ignore"):
        STEPS[type(step.spec)](step, arena, arrays, first, valid)


def view(arena: Bytes, offset: int, count: int) -> Floats:
    """``count`` f32 values of the arena."""
    return arena[offset:offset + 4 * count].view(np.float32)


def tile(arena: Bytes, offset: int, features: int, width: int) -> Floats:
    """A value of the arena: ``(features, width)``."""
    return view(arena, offset, features * width).reshape(features, width)


def mark(arena: Bytes, values: Floats) -> None:
    """Set the flag where a value is NaN or infinite."""
    if not np.isfinite(values).all():
        view(arena, 0, 16)[:] = np.nan


def enter(step: Step, arena: Bytes, arrays: Sequence[Floats], first: int, valid: int) -> None:
    """Rows of the batch to a tile; rows past the end repeat the last."""
    index, features, offset = step.words
    width = step.spec.width
    rows = first + np.minimum(np.arange(width), valid - 1)
    inside = tile(arena, offset, features + 1, width)
    inside[:features] = arrays[index].reshape(-1, features)[rows].T
    inside[features] = 0
    mark(arena, inside)


def leave(step: Step, arena: Bytes, arrays: Sequence[Floats], first: int, valid: int) -> None:
    """A tile to rows of the batch."""
    index, features, offset = step.words
    inside = tile(arena, offset, features, step.spec.width)
    arrays[index].reshape(-1, features)[first:first + valid] = inside.T[:valid]


def product(step: Step, arena: Bytes, arrays: Sequence[Floats], first: int, valid: int) -> None:
    """A sparse product, chunk by chunk as the stream says."""
    del arrays, first, valid
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
            sums: Floats = _start(step, out, places, bool(opens))
            stream = _sum(spec, packed.stream, stream, counts, columns, sums)
            if closes:
                mark(arena, sums)
                sums = activate(spec.act, sums)
            out[places] = sums
    out[rows] = 0


def permuted(step: Step, arena: Bytes, arrays: Sequence[Floats], first: int, valid: int) -> None:
    """A sparse product with one vector, run by run as the table says."""
    del arrays, first, valid
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
                    at = _six(stream, at, chunks, step.spec.half, view(source, column, 32), sums[place // 64])
        for line, words in zip(sums, packed.heads[ends // 4:].reshape(-1)[:17 * groups].reshape(-1, 17), strict=True):
            for _ in range(words[0]):
                columns = stream[left + size:left + size + 32].view(np.uint16).astype(int)
                line += stored(stream[left:], 16, step.spec.half) * source.view(np.float32)[columns]
                left += size + 32
            value = line if step.bias is None else line + step.bias[words[1:] + 1]
            mark(arena, value)
            out[words[1:]] = activate(step.spec.act, value)
    out[rows] = 0


def _six(stream: Bytes, at: int, chunks: int, half: bool, columns: Floats, sums: Floats) -> int:
    """Add up to six chunks that share a register of indices; where the stream goes on."""
    size, each = 64 if chunks > 3 else 32, 32 if half else 64
    index = stream[at:at + size].view(np.uint32 if chunks > 3 else np.uint16).astype(int)
    for chunk in range(chunks):
        place = at + size + each * chunk
        sums += stored(stream[place:], 16, half) * columns[index >> 5 * chunk & 31]
    return at + size + each * chunks


def stored(stream: Bytes, count: int, half: bool) -> Floats:
    """The weights that a stream begins with; a bf16 is the upper half of an f32."""
    if not half:
        return stream[:4 * count].view(np.float32)
    return (stream[:2 * count].view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def _start(step: Step, out: Floats, places: Any, fresh: bool) -> Floats:
    if not fresh:
        return np.array(out[places])
    sums = np.zeros((len(places), step.spec.width), np.float32)
    if step.bias is not None:
        sums[:] = step.bias[places + 1, None]
    return sums


def _sum(spec: Any, stream: Bytes, at: int, counts: Any, columns: Bytes, sums: Floats) -> int:
    """Add the chunks of a group to its sums; where the stream goes on."""
    for form, count in zip(spec.forms, counts, strict=True):
        for _ in range(count):
            weights = stored(stream[at:], chunk_weights(form), spec.half)
            taken = 0
            for slot, mask in enumerate(form):
                index = int(stream[at + (2 if spec.half else 4) * len(weights) + 2 * slot:][:2].view(np.uint16)[0])
                values = view(columns, index * spec.unit, spec.width)
                for row in (r for r in range(spec.rows) if mask >> r & 1):
                    sums[row] += weights[taken] * values
                    taken += 1
            at += chunk_bytes(form, spec.half)
    return at


def joined(kind: str, values: Sequence[Floats]) -> Floats:
    """One value as it is, two joined by ``add``, ``sub``, ``mul`` or ``div``."""
    join = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}[kind]
    return np.array(values[0] if len(values) == 1 else join(*values), np.float32)


def pointwise(step: Step, arena: Bytes, arrays: Sequence[Floats], first: int, valid: int) -> None:
    """An activation of one value, or of two joined."""
    del arrays, first, valid
    target, count, *sources = step.words
    total = joined(step.spec.kind, [view(arena, source, count) for source in sources])
    mark(arena, total)
    view(arena, target, count)[:] = activate(step.spec.act, total)
    view(arena, target + 4 * count, step.spec.width)[:] = 0


def convolution(step: Step, arena: Bytes, arrays: Sequence[Floats], first: int, valid: int) -> None:
    """A sparse convolution, one position of the output after the other."""
    del arrays, first, valid
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
                    sums = _start_at(step, outs, places, bool(opens))
                    at = _sum(spec, packed.stream, at, counts, inputs, sums)
                    if closes:
                        mark(arena, sums)
                        sums = activate(spec.act, sums)
                    for out, value in zip(outs, sums, strict=True):
                        out[:] = value
    _behind(arena, behind, spec.lanes)


def _start_at(step: Step, outs: Sequence[Floats], places: Any, fresh: bool) -> Floats:
    if not fresh:
        return np.array(outs)
    sums = np.zeros((len(outs), step.spec.width), np.float32)
    if step.bias is not None:
        sums[:] = step.bias[places + 1, None]
    return sums


def _behind(arena: Bytes, place: int, lanes: int) -> None:
    if place:
        view(arena, place, lanes)[:] = 0


def planes(step: Step, arena: Bytes, arrays: Sequence[Floats], first: int, valid: int) -> None:
    """An element-wise operator on rows that lie apart."""
    del arrays, first, valid
    target, count, rows, size, plane, line, behind, *sources = step.words
    for p in range(count):
        for r in range(rows):
            values = []
            for k, (place, source_plane, source_line) in enumerate(np.reshape(sources, (-1, 3))):
                alone = 1 if step.spec.ragged else step.spec.lanes
                width = alone if k in step.spec.single else size // 4
                one = view(arena, int(place + p * source_plane + r * source_line), width)
                values.append(np.tile(one, size // 4 // width))
            total = joined(step.spec.kind, values)
            mark(arena, total)
            view(arena, target + p * plane + r * line, size // 4)[:] = activate(step.spec.act, total)
    _behind(arena, behind, step.spec.lanes)


def border(step: Step, arena: Bytes, arrays: Sequence[Floats], first: int, valid: int) -> None:
    """Zeros around every plane."""
    del arrays, first, valid
    base, count, rows, columns, pad_rows, pad_columns = step.words
    inside = view(arena, base, count * rows * columns * step.spec.lanes).reshape(count, rows, columns, -1)
    inside[:, :pad_rows] = inside[:, rows - pad_rows:] = 0
    inside[:, :, :pad_columns] = inside[:, :, columns - pad_columns:] = 0


def pool(step: Step, arena: Bytes, arrays: Sequence[Floats], first: int, valid: int) -> None:
    """Max or average over windows, cut at the edge of the plane."""
    del arrays, first, valid
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
    _behind(arena, behind, step.spec.lanes)


def fixed(address: int, count: int) -> Floats:
    """``count`` f32 values at an address."""
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address))


def scale(step: Step, arena: Bytes, arrays: Sequence[Floats], first: int, valid: int) -> None:
    """A fixed factor and offset for every plane."""
    del arrays, first, valid
    target, count, rows, size, plane, line, behind, source, source_plane, source_line, factors, offsets = step.words
    for p, r in np.ndindex(count, rows):
        value = view(arena, source + p * source_plane + r * source_line, size // 4)
        value = value * fixed(factors, count)[p] + fixed(offsets, count)[p]
        mark(arena, value)
        view(arena, target + p * plane + r * line, size // 4)[:] = activate(step.spec.act, value)
    _behind(arena, behind, step.spec.lanes * step.spec.tiles)


def norm(step: Step, arena: Bytes, arrays: Sequence[Floats], first: int, valid: int) -> None:
    """Layer norm, in f64; a variance past f32 raises the flag."""
    del arrays, first, valid
    source, target, features, behind, factors, offsets = step.words
    spec = step.spec
    value = tile(arena, source, features, spec.width).astype(np.float64)
    mark(arena, value.var(0).astype(np.float32))
    value = (value - value.mean(0)) / np.sqrt(value.var(0) + spec.eps)
    value = value * fixed(factors, features)[:, None] if spec.scale else value
    value = value + fixed(offsets, features)[:, None] if spec.shift else value
    out = value.astype(np.float32)
    mark(arena, out)
    tile(arena, target, features, spec.width)[:] = out
    _behind(arena, behind, spec.width)


def softmax(step: Step, arena: Bytes, arrays: Sequence[Floats], first: int, valid: int) -> None:
    """Softmax, in f64."""
    del arrays, first, valid
    source, target, features, behind = step.words
    value = tile(arena, source, features, step.spec.width).astype(np.float64)
    value = np.exp(value - value.max(0))
    tile(arena, target, features, step.spec.width)[:] = value / value.sum(0)
    _behind(arena, behind, step.spec.width)


STEPS: dict[type, Callable[[Step, Bytes, Sequence[Floats], int, int], None]] = {
    Enter: enter, Leave: leave, Spmm: product, Gather: product, Permute: permuted, Pointwise: pointwise,
    Conv: convolution, ImageConv: convolution, ImagePool: pool, Planes: planes, Border: border, Pool: pool,
    Scale: scale, Norm: norm, Softmax: softmax,
}
