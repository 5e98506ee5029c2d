"""Operators that only move positions: reshapes, transpositions, slices, concatenations."""

from __future__ import annotations

from math import prod

from secateur.graph.axes import ONE
from secateur.graph.flow import Op, Value, rule
from secateur.graph.rules.algebra import broadcast


@rule("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as",
      "_reshape_alias", "ravel")
def reshape(op: Op) -> list[int]:
    """The same positions in the same order under other axes."""
    x, shape = op.tensors[0], op.shapes[0]
    if x.shape == shape:
        return list(x.axes)
    if 0 in shape:
        return [op.fixed(s) for s in shape]
    out = [op.axes.leaf(s) for s in shape]
    op.axes.align(x.axes, out)
    return out


@rule("transpose", "t", "permute", "movedim", "swapaxes", "swapdims", "numpy_T", "mT", "adjoint", "moveaxis")
def permute(op: Op) -> Value:
    """The axes in another order."""
    x = op.tensors[0]
    order = order_of(op, len(x.axes))
    origin = (x.origin[0], tuple(x.origin[1][d] for d in order)) if x.origin else None
    return Value(op.shapes[0], [x.axes[d] for d in order], origin)


def order_of(op: Op, rank: int) -> list[int]:
    """Which axis of the input each axis of the output is."""
    order = list(range(rank))
    if op.name == "permute":
        return [d % rank for d in op["dims"]]
    if op.name in ("movedim", "moveaxis"):
        source, target = ([v] if isinstance(v, int) else v for v in (op["source"], op["destination"]))
        pairs = sorted((t % rank, s % rank) for s, t in zip(source, target, strict=True))
        rest = [d for d in order if d not in [s for _, s in pairs]]
        for t, s in pairs:
            rest.insert(t, s)
        return rest
    if op.name in ("t", "numpy_T"):
        return order[::-1]
    first, second = [v for v in op.args.values() if isinstance(v, int)][:2] or (-1, -2)
    order[first], order[second] = order[second], order[first]
    return order


@rule("expand", "expand_as", "broadcast_to", "repeat", "tile")
def repeat(op: Op) -> list[int]:
    """Equal copies along an axis: the copies are a free factor outside the old one."""
    x, shape = op.tensors[0], op.shapes[0]
    old = [ONE] * (len(shape) - len(x.axes)) + list(x.axes)
    return [op.axes.product([op.axes.leaf(s // op.axes.sizes[a]), a]) if op.axes.sizes[a] else op.fixed(s)
            for a, s in zip(old, shape, strict=True)]


@rule("repeat_interleave")
def interleave(op: Op) -> list[int]:
    """Each position several times in a row: the copies are a free factor inside the old one."""
    x = op.tensors[0]
    if not isinstance(op["repeats"], int) or op["dim"] is None:
        op.fix(x, range(len(x.axes)), "copies that depend on the data")
        return [op.fixed(s) for s in op.shapes[0]]
    out = list(x.axes)
    d = op["dim"] % len(out)
    out[d] = op.axes.product([out[d], op.axes.leaf(op["repeats"])])
    return out


@rule("cat", "concat", "concatenate", "hstack", "vstack")
def cat(op: Op) -> list[int]:
    """Segments one after the other along one axis; the other axes are tied."""
    parts = [v for v in op["tensors"] if len(v.axes) == len(op.shapes[0])]
    d = (op["dim"] or 0) % len(op.shapes[0])
    out = broadcast(op, [Value((), [ONE if i == d else a for i, a in enumerate(v.axes)]) for v in parts])
    ones = [op.fixed(1) if op.axes.sizes[v.axes[d]] == 1 else v.axes[d] for v in parts]
    out[d] = op.axes.sum(ones)
    return out


@rule("stack")
def stack(op: Op) -> list[int]:
    """A new axis whose positions are different tensors: it is fixed."""
    parts = op["tensors"]
    out = broadcast(op, list(parts))
    out.insert(op["dim"] % (len(out) + 1), op.fixed(len(parts), f"a stack of {len(parts)} at {op.where}"))
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
    out[d] = strided(op, x.axes[d], start, step) if step > 1 else \
        op.axes.cut(x.axes[d], [start, length, size - start - length])[1]
    return out


def strided(op: Op, axis: int, start: int, step: int) -> int:
    """Every ``step``-th position: the outer factor of the axis, where the axis is whole periods."""
    size = op.axes.sizes[axis]
    if size % step == 0 and start < step:
        outer, inner = op.axes.split(axis, step)
        op.axes.fix(inner, f"every {step}th position is taken at {op.where}")
        return outer
    op.axes.fix(axis, f"every {step}th position is taken at {op.where}")
    return op.fixed(-(-(size - start) // step))


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
            out[d] = op.fixed(op.shapes[0][d])
        else:
            sides = [op.fixed(n, f"padding of a constant size at {op.where}") for n in (before, after) if n]
            out[d] = op.axes.sum([*sides[:1 if before else 0], out[d], *sides[1 if before else 0:]])
    return out


@rule("roll")
def roll(op: Op) -> list[int]:
    """Rolled axes are fixed."""
    x = op.tensors[0]
    op.fix(x, [d % len(x.axes) for d in op["dims"]] or range(len(x.axes)), "rolled")
    return list(x.axes)


@rule("tril", "triu", "diagonal", "diag", "diag_embed", "fft_fft", "fft_fftn", "fft_fft2")
def positional(op: Op) -> list[int]:
    """Positions matter along every axis that these touch."""
    x = op.tensors[0]
    op.fix(x, range(len(x.axes)), f"{op.name} over it")
    return [op.fixed(s) for s in op.shapes[0]]


@rule("pixel_shuffle")
def pixel_shuffle(op: Op) -> list[int]:
    """Channels times a square become space."""
    x, r = op.tensors[0], op["upscale_factor"]
    out = op.axes.leaf(op.shapes[0][-3])
    op.tie(x.axes[-3], op.axes.product([out, op.fixed(r * r)]))
    return [*x.axes[:-3], out, *(op.fixed(s) for s in op.shapes[0][-2:])]


@rule("pixel_unshuffle")
def pixel_unshuffle(op: Op) -> list[int]:
    """Space becomes channels times a square."""
    x, r = op.tensors[0], op["downscale_factor"]
    op.fix(x, [-2, -1], "space")
    return [*x.axes[:-3], op.axes.product([x.axes[-3], op.fixed(r * r)]), *(op.fixed(s) for s in op.shapes[0][-2:])]


@rule("channel_shuffle")
def channel_shuffle(op: Op) -> list[int]:
    """Groups times channels become channels times groups."""
    x = op.tensors[0]
    groups, channels = op.axes.split(x.axes[1], x.shape[1] // op["groups"])
    return [x.axes[0], op.axes.product([channels, groups]), *x.axes[2:]]


@rule("zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty", "scalar_tensor")
def uniform(op: Op) -> list[int]:
    """One value everywhere: all axes are free."""
    return [op.axes.leaf(s) for s in op.shapes[0]]


@rule("arange", "eye", "linspace", "rand", "randn", "randint", "randperm", "tril_indices", "triu_indices",
      "hann_window", "logspace")
def enumerated(op: Op) -> list[int]:
    """Values that say where they are: all axes are fixed."""
    return [op.axes.leaf(s, f"a constant of the code at {op.where}") for s in op.shapes[0]]


@rule("unfold")
def unfold(op: Op) -> list[int]:
    """Windows along one axis fix it."""
    x = op.tensors[0]
    d = op["dimension"] % len(x.axes)
    op.fix(x, [d], "windows along it")
    return [*(op.fixed(s) if i == d else a for i, (a, s) in enumerate(zip(x.axes, op.shapes[0], strict=False))),
            op.fixed(op.shapes[0][-1])]


@rule("im2col")
def im2col(op: Op) -> list[int]:
    """Patches: channels times a window."""
    x = op.tensors[0]
    op.fix(x, [-2, -1], "space")
    window = op.fixed(op.shapes[0][-2] // x.shape[-3])
    return [*x.axes[:-3], op.axes.product([x.axes[-3], window]), op.fixed(op.shapes[0][-1])]


@rule("col2im")
def col2im(op: Op) -> list[int]:
    """Patches back to an image."""
    x = op.tensors[0]
    op.fix(x, [-1], "space")
    channels, window = op.axes.split(x.axes[-2], prod(op["kernel_size"]))
    op.axes.fix(window, f"a window at {op.where}")
    return [*x.axes[:-2], channels, *(op.fixed(s) for s in op.shapes[0][-2:])]
