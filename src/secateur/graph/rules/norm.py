"""Norms and gates that hold one value a channel."""

from __future__ import annotations

from secateur.graph.rules.base import Op, rule


@rule("batch_norm", "instance_norm", "native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm")
def channel_norm(op: Op) -> list[list[int]]:
    """Everything of one axis goes with the channels."""
    x, *rest = op.tensors
    for value in rest:
        op.tie(value.axes[0], x.axes[1])
    return [x.axes, *([op.axes.leaf(n) for n in s] for s in op.shapes[1:])]


@rule("group_norm", "native_group_norm")
def group_norm(op: Op) -> list[int]:
    """Groups are an outer factor of the channels."""
    x, groups = op["input"], op["num_groups"]
    op.notes["groups"] = op.axes.leaf(groups)
    op.tie(x.axes[1], op.axes.product([op.notes["groups"], op.axes.leaf(x.shape[1] // groups)]))
    for value in op.tensors[1:]:
        op.tie(value.axes[0], x.axes[1])
    return list(x.axes)


@rule("layer_norm", "rms_norm", "_fused_rms_norm", "native_layer_norm")
def layer_norm(op: Op) -> list[int]:
    """Statistics over the last axes, which stay free."""
    x, *rest = op.tensors
    for value in rest:
        for a, b in zip(value.axes, x.axes[-len(value.axes):], strict=True):
            op.tie(a, b)
    return list(x.axes)


@rule("prelu", "_prelu_kernel")
def prelu(op: Op) -> list[int]:
    """One slope a channel, or one for all."""
    x, w = op.tensors[:2]
    if w.axes and w.shape[0] > 1:
        op.tie(w.axes[0], x.axes[1])
    return list(x.axes)


@rule("glu")
def glu(op: Op) -> list[int]:
    """The first half times the sigmoid of the second."""
    x = op.tensors[0]
    d = op["dim"] % len(x.axes)
    half = x.shape[d] // 2
    a, b = op.axes.cut(x.axes[d], [half, half])
    op.tie(a, b)
    return [a if i == d else axis for i, axis in enumerate(x.axes)]
