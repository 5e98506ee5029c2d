"""Convolutions, transposed ones, weights in weight norm."""

from __future__ import annotations

from secateur.graph.rules.base import Op, Value, rule


def space(op: Op, x: Value, out: tuple[int, ...], first: int) -> list[int]:
    """Fix the spatial axes of the input; gives those of the output."""
    op.fix(x, range(first, len(x.axes)), "space")
    return [op.fixed_axis(s, "space") for s in out[first:]]


@rule("conv1d", "conv2d", "conv3d", "convolution", "_convolution", "conv_transpose1d", "conv_transpose2d",
      "conv_transpose3d")
def convolution(op: Op) -> list[int]:
    """Channels are contracted; groups are an outer factor of the input and output channels."""
    x, w, b = op["input"], op["weight"], op["bias"]
    c = len(x.axes) - len(w.axes) + 1
    first, second = w.axes[0], _second_axis_of_all_groups(op, w)
    # The weight of a transposed convolution has its first two axes exchanged.
    transposed = op["transposed"] or "transpose" in op.name
    channels, out = (first, second) if transposed else (second, first)
    op.tie(x.axes[c], channels)
    op.role(w, 0, "in" if transposed else "out")
    op.role(w, 1, "out" if transposed else "in")
    op.fix(w, range(2, len(w.axes)), "the kernel's window")
    if b is not None:
        op.tie(b.axes[0], out)
    return [*x.axes[:c], out, *space(op, x, op.shapes[0], c + 1)]


def _second_axis_of_all_groups(op: Op, w: Value) -> int:
    """The second axis of a weight for all groups together: a weight holds it for one group, the first one for all."""
    groups = op["groups"] or 1
    if groups == 1:
        return w.axes[1]
    group = op.notes["groups"] = op.axes.leaf(groups)
    op.tie(w.axes[0], op.axes.product([group, op.axes.leaf(w.shape[0] // groups)]))
    return op.axes.product([group, w.axes[1]])


@rule("_weight_norm", "_weight_norm_interface")
def weight_norm(op: Op) -> Value | list[list[int]]:
    """A direction times a length: the shape of the direction."""
    v, g = op["v"], op["g"]
    for a, b in zip(v.axes, g.axes, strict=bool(g.axes)):
        if op.axes.sizes[a] == op.axes.sizes[b]:
            op.tie(a, b)
    if len(op.shapes) > 1:
        return [v.axes, g.axes]
    return Value(v.shape, list(v.axes), v.origin)
