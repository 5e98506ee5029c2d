"""Convolutions, transposed ones, weights in weight norm."""

from __future__ import annotations

from secateur.graph.rules.base import Call, TensorAxes, rule


def space(call: Call, x: TensorAxes, out: tuple[int, ...], first: int) -> list[int]:
    """Fix the spatial axes of the input; gives those of the output."""
    call.fix(x, range(first, len(x.axes)), "space")
    return [call.fixed_axis(s, "space") for s in out[first:]]


@rule("conv1d", "conv2d", "conv3d", "convolution", "_convolution", "conv_transpose1d", "conv_transpose2d",
      "conv_transpose3d")
def convolution(call: Call) -> list[int]:
    """Channels are contracted; groups are an outer factor of the input and output channels."""
    x, w, b = call["input"], call["weight"], call["bias"]
    c = len(x.axes) - len(w.axes) + 1
    first, second = w.axes[0], _second_axis_of_all_groups(call, w)
    # The weight of a transposed convolution has its first two axes exchanged.
    transposed = call["transposed"] or "transpose" in call.name
    channels, out = (first, second) if transposed else (second, first)
    call.tie(x.axes[c], channels)
    call.role(w, 0, "in" if transposed else "out")
    call.role(w, 1, "out" if transposed else "in")
    call.fix(w, range(2, len(w.axes)), "the kernel's window")
    if b is not None:
        call.tie(b.axes[0], out)
    return [*x.axes[:c], out, *space(call, x, call.shapes[0], c + 1)]


def _second_axis_of_all_groups(call: Call, w: TensorAxes) -> int:
    """The second axis of a weight for all groups together: a weight holds it for one group, the first one for all."""
    groups = call["groups"] or 1
    if groups == 1:
        return w.axes[1]
    group = call.notes["groups"] = call.axes.leaf(groups)
    call.tie(w.axes[0], call.axes.product([group, call.axes.leaf(w.shape[0] // groups)]))
    return call.axes.product([group, w.axes[1]])


@rule("_weight_norm", "_weight_norm_interface")
def weight_norm(call: Call) -> TensorAxes | list[list[int]]:
    """A direction times a length: the shape of the direction."""
    v, g = call["v"], call["g"]
    for a, b in zip(v.axes, g.axes, strict=bool(g.axes)):
        if call.axes.sizes[a] == call.axes.sizes[b]:
            call.tie(a, b)
    if len(call.shapes) > 1:
        return [v.axes, g.axes]
    return TensorAxes(v.shape, list(v.axes), v.origin)
