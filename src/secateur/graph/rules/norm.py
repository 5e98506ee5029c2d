"""Norms and gates that hold one value a channel."""

from __future__ import annotations

from secateur.graph.rules.base import Call, rule


@rule("batch_norm", "instance_norm", "native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm")
def channel_norm(call: Call) -> list[list[int]]:
    """Everything of one axis goes with the channels."""
    x, *rest = call.tensors
    for value in rest:
        call.tie(value.axes[0], x.axes[1])
    return [x.axes, *([call.axes.leaf(n) for n in s] for s in call.shapes[1:])]


@rule("group_norm", "native_group_norm")
def group_norm(call: Call) -> list[int]:
    """Groups are an outer factor of the channels."""
    x, groups = call["input"], call["num_groups"]
    call.notes["groups"] = call.axes.leaf(groups)
    call.tie(x.axes[1], call.axes.product([call.notes["groups"], call.axes.leaf(x.shape[1] // groups)]))
    for value in call.tensors[1:]:
        call.tie(value.axes[0], x.axes[1])
    return list(x.axes)


@rule("layer_norm", "rms_norm", "_fused_rms_norm", "native_layer_norm")
def layer_norm(call: Call) -> list[int]:
    """Statistics over the last axes, which stay free."""
    x, *rest = call.tensors
    for value in rest:
        for a, b in zip(value.axes, x.axes[-len(value.axes):], strict=True):
            call.tie(a, b)
    return list(x.axes)


@rule("prelu", "_prelu_kernel")
def prelu(call: Call) -> list[int]:
    """One slope a channel, or one for all."""
    x, w = call.tensors[:2]
    if w.axes and w.shape[0] > 1:
        call.tie(w.axes[0], x.axes[1])
    return list(x.axes)


@rule("glu")
def glu(call: Call) -> list[int]:
    """The first half times the sigmoid of the second."""
    x = call.tensors[0]
    d = call["dim"] % len(x.axes)
    half = x.shape[d] // 2
    a, b = call.axes.cut(x.axes[d], [half, half])
    call.tie(a, b)
    return [a if i == d else axis for i, axis in enumerate(x.axes)]
