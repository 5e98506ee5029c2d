"""Convolutions, transposed ones, weights in weight norm."""

from __future__ import annotations

from secateur.graph.rules.base import Op, Value, rule


def space(op: Op, x: Value, out: tuple[int, ...], first: int) -> list[int]:
    """Fix the spatial axes of the input; gives those of the output."""
    op.fix(x, range(first, len(x.axes)), "space")
    return [op.fixed(s, f"space at {op.where}") for s in out[first:]]


@rule("conv1d", "conv2d", "conv3d", "convolution", "_convolution")
def convolution(op: Op) -> list[int]:
    """Channels are contracted; groups are an outer factor of the input and output channels."""
    x, w, b = op["input"], op["weight"], op["bias"]
    if op["transposed"]:
        return list(transposed_convolution(op))
    c = len(x.axes) - len(w.axes) + 1
    _tie_groups(op, x.axes[c], w.axes[0], w.axes[1])
    op.role(w, 0, "out")
    op.role(w, 1, "in")
    op.fix(w, range(2, len(w.axes)), "the kernel's window")
    if b is not None:
        op.tie(b.axes[0], w.axes[0])
    return [*x.axes[:c], w.axes[0], *space(op, x, op.shapes[0], c + 1)]


def _tie_groups(op: Op, whole: int, grouped: int, inner: int) -> None:
    """``whole`` is groups times ``inner``; ``grouped`` is groups times something of its own."""
    groups = op["groups"] or 1
    if groups == 1:
        return op.tie(whole, inner)
    group = op.notes["groups"] = op.axes.leaf(groups)
    op.tie(whole, op.axes.product([group, inner]))
    return op.tie(grouped, op.axes.product([group, op.axes.leaf(op.axes.sizes[grouped] // groups)]))


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def transposed_convolution(op: Op) -> list[int]:
    """As a convolution, with the weight's first two axes exchanged."""
    x, w, b = op["input"], op["weight"], op["bias"]
    c = len(x.axes) - len(w.axes) + 1
    op.tie(x.axes[c], w.axes[0])
    groups, out = op["groups"] or 1, w.axes[1]
    if groups > 1:
        group = op.notes["groups"] = op.axes.leaf(groups)
        op.tie(w.axes[0], op.axes.product([group, op.axes.leaf(w.shape[0] // groups)]))
        out = op.axes.product([group, w.axes[1]])
    op.role(w, 1, "out")
    op.role(w, 0, "in")
    op.fix(w, range(2, len(w.axes)), "the kernel's window")
    if b is not None:
        op.tie(b.axes[0], out)
    return [*x.axes[:c], out, *space(op, x, op.shapes[0], c + 1)]


@rule("_weight_norm", "_weight_norm_interface")
def weight_norm(op: Op) -> Value | list[list[int]]:
    """A direction times a length: the shape of the direction."""
    v, g = op["v"], op["g"]
    for a, b in zip(v.axes, g.axes, strict=bool(g.axes)):
        if op.axes.sizes[a] == op.axes.sizes[b]:
            op.tie(a, b)
    if len(op.shapes) > 1:
        return [list(v.axes), list(g.axes)]
    return Value(v.shape, list(v.axes), v.origin)
