"""Pieces of one axis: concatenations, splits, slices, padding."""

from __future__ import annotations

from secateur.graph.axes import ONE
from secateur.graph.rules.base import Op, Value, rule
from secateur.graph.rules.elementwise import broadcast


@rule("cat", "concat", "concatenate", "hstack", "vstack")
def cat(op: Op) -> list[int]:
    """Segments one after the other along one axis; the other axes are tied."""
    parts = [v for v in op["tensors"] if len(v.axes) == len(op.shapes[0])]
    d = (op["dim"] or 0) % len(op.shapes[0])
    out = broadcast(op, [Value((), [ONE if i == d else a for i, a in enumerate(v.axes)]) for v in parts])
    ones = [op.fixed_axis(1) if op.axes.sizes[v.axes[d]] == 1 else v.axes[d] for v in parts]
    out[d] = op.axes.sum(ones)
    return out


@rule("stack")
def stack(op: Op) -> list[int]:
    """A new axis whose positions are different tensors: it is fixed."""
    parts = op["tensors"]
    out = broadcast(op, list(parts))
    out.insert(op["dim"] % (len(out) + 1), op.fixed_axis(len(parts), f"a stack of {len(parts)}"))
    return out


@rule("split", "split_with_sizes", "chunk", "tensor_split", "unsafe_chunk", "unsafe_split", "split_copy")
def split(op: Op) -> list[list[int]]:
    """Segments of one axis as tensors of their own."""
    x = op.tensors[0]
    d = (op["dim"] or 0) % len(x.axes)
    parts = op.axes.cut(x.axes[d], [s[d] for s in op.shapes])
    return [[part if i == d else a for i, a in enumerate(x.axes)] for part in parts]


@rule("unbind")
def unbind(op: Op) -> list[list[int]]:
    """Each position of one axis as a tensor of its own: the axis is fixed."""
    x = op.tensors[0]
    d = (op["dim"] or 0) % len(x.axes)
    op.fix(x, [d], "taken apart position by position")
    return [[a for i, a in enumerate(x.axes) if i != d] for _ in op.shapes]


@rule("select")
def select(op: Op) -> list[int]:
    """One position of one axis: the axis is fixed."""
    x = op.tensors[0]
    d = op["dim"] % len(x.axes)
    op.fix(x, [d], "one position is picked")
    return [a for i, a in enumerate(x.axes) if i != d]


@rule("slice", "narrow", "slice_copy")
def slice_(op: Op) -> list[int]:
    """A segment of one axis, or every n-th position of it."""
    x = op.tensors[0]
    d = (op["dim"] or 0) % len(x.axes)
    out, size, length = list(x.axes), x.shape[d], op.shapes[0][d]
    if length == size:
        return out
    start, step = op["start"] or 0, op["step"] or 1
    start = min(start + size if start < 0 else start, size)
    out[d] = stride(op, x.axes[d], start, step) if step > 1 else \
        op.axes.cut(x.axes[d], [start, length, size - start - length])[1]
    return out


def stride(op: Op, axis: int, start: int, step: int) -> int:
    """Every ``step``-th position: the outer factor of the axis, where the axis is whole periods."""
    size = op.axes.sizes[axis]
    if size % step == 0 and start < step:
        outer, inner = op.axes.split(axis, step)
        op.axes.fix(inner, f"every {step}th position is taken at {op.where}")
        return outer
    op.axes.fix(axis, f"every {step}th position is taken at {op.where}")
    return op.fixed_axis(-(-(size - start) // step))


@rule("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d")
def pad(op: Op) -> list[int]:
    """Constant padding of a free axis leaves the middle free; other padding fixes the axis."""
    x, amounts = op.tensors[0], list(op["pad"] if op["pad"] is not None else op["padding"])
    out = list(x.axes)
    for i in range(len(amounts) // 2):
        before, after, d = amounts[2 * i], amounts[2 * i + 1], len(out) - 1 - i
        if not before and not after:
            continue
        if min(before, after) < 0 or (op["mode"] or "constant") != "constant" or "pad" not in op.args:
            op.fix(x, [d], "padding")
            out[d] = op.fixed_axis(op.shapes[0][d])
        else:
            sides = [op.fixed_axis(n, "padding of a constant size") for n in (before, after) if n]
            out[d] = op.axes.sum([*sides[:1 if before else 0], out[d], *sides[1 if before else 0:]])
    return out


@rule("roll")
def roll(op: Op) -> list[int]:
    """Rolled axes are fixed."""
    x = op.tensors[0]
    op.fix(x, [d % len(x.axes) for d in op["dims"]] or range(len(x.axes)), "rolled")
    return list(x.axes)
