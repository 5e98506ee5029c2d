"""Pieces of one axis: concatenations, splits, slices, padding."""

from __future__ import annotations

from secateur.graph.axes import ONE
from secateur.graph.rules.base import Call, TensorAxes, rule
from secateur.graph.rules.elementwise import broadcast


@rule("cat", "concat", "concatenate", "hstack", "vstack")
def cat(call: Call) -> list[int]:
    """Segments one after the other along one axis; the other axes are tied."""
    parts = [v for v in call["tensors"] if len(v.axes) == len(call.shapes[0])]
    d = (call["dim"] or 0) % len(call.shapes[0])
    out = broadcast(call, [TensorAxes((), [ONE if i == d else a for i, a in enumerate(v.axes)]) for v in parts])
    ones = [call.fixed_axis(1) if call.axes.sizes[v.axes[d]] == 1 else v.axes[d] for v in parts]
    out[d] = call.axes.sum(ones)
    return out


@rule("stack")
def stack(call: Call) -> list[int]:
    """A new axis whose positions are different tensors: it is fixed."""
    parts = call["tensors"]
    out = broadcast(call, list(parts))
    out.insert(call["dim"] % (len(out) + 1), call.fixed_axis(len(parts), f"a stack of {len(parts)}"))
    return out


@rule("split", "split_with_sizes", "chunk", "tensor_split", "unsafe_chunk", "unsafe_split", "split_copy")
def split(call: Call) -> list[list[int]]:
    """Segments of one axis as tensors of their own."""
    x = call.tensors[0]
    d = (call["dim"] or 0) % len(x.axes)
    parts = call.axes.cut(x.axes[d], [s[d] for s in call.shapes])
    return [[part if i == d else a for i, a in enumerate(x.axes)] for part in parts]


@rule("select", "unbind")
def select(call: Call) -> list[list[int]]:
    """One position of one axis, or each as a tensor of its own: the axis is fixed."""
    x = call.tensors[0]
    d = call["dim"] % len(x.axes)
    call.fix(x, [d], "single positions are picked")
    return [[a for i, a in enumerate(x.axes) if i != d] for _ in call.shapes]


@rule("slice", "narrow", "slice_copy")
def slice_(call: Call) -> list[int]:
    """A segment of one axis, or every n-th position of it."""
    x = call.tensors[0]
    d = (call["dim"] or 0) % len(x.axes)
    out, size, length = list(x.axes), x.shape[d], call.shapes[0][d]
    if length == size:
        return out
    start, step = call["start"] or 0, call["step"] or 1
    start = min(start + size if start < 0 else start, size)
    out[d] = stride(call, x.axes[d], start, step) if step > 1 else \
        call.axes.cut(x.axes[d], [start, length, size - start - length])[1]
    return out


def stride(call: Call, axis: int, start: int, step: int) -> int:
    """Every ``step``-th position: the outer factor of the axis, where the axis is whole periods."""
    size = call.axes.sizes[axis]
    if size % step == 0 and start < step:
        outer, inner = call.axes.split(axis, step)
        call.axes.fix(inner, f"every {step}th position is taken at {call.where}")
        return outer
    call.axes.fix(axis, f"every {step}th position is taken at {call.where}")
    return call.fixed_axis(-(-(size - start) // step))


@rule("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d")
def pad(call: Call) -> list[int]:
    """Constant padding of a free axis leaves the middle free; other padding fixes the axis."""
    x, amounts = call.tensors[0], list(call["pad"] if call["pad"] is not None else call["padding"])
    out = list(x.axes)
    for i in range(len(amounts) // 2):
        before, after, d = amounts[2 * i], amounts[2 * i + 1], len(out) - 1 - i
        if not before and not after:
            continue
        if min(before, after) < 0 or (call["mode"] or "constant") != "constant" or "pad" not in call.args:
            call.fix(x, [d], "padding")
            out[d] = call.fixed_axis(call.shapes[0][d])
        else:
            sides = [call.fixed_axis(n, "padding of a constant size") for n in (before, after) if n]
            out[d] = call.axes.sum([*sides[:1 if before else 0], out[d], *sides[1 if before else 0:]])
    return out
