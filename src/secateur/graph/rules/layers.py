"""Operators with weights and memory: convolutions, norms, pooling, embeddings, recurrent networks."""

from __future__ import annotations

from secateur.graph.flow import Op, Value, rule


def space(op: Op, x: Value, out: tuple[int, ...], first: int) -> list[int]:
    """Fix the spatial axes of the input; gives those of the output."""
    op.fix(x, range(first, len(x.axes)), "space")
    return [op.fixed(s, f"space at {op.where}") for s in out[first:]]


@rule("conv1d", "conv2d", "conv3d", "convolution", "_convolution")
def convolution(op: Op) -> list[int]:
    """Channels are contracted; groups are an outer factor of the input and output channels."""
    x, w, b = op["input"], op["weight"], op["bias"]
    if op["transposed"]:
        return list(transposed(op))
    c = len(x.axes) - len(w.axes) + 1
    tie_groups(op, x.axes[c], w.axes[0], w.axes[1])
    op.role(w, 0, "out")
    op.role(w, 1, "in")
    op.fix(w, range(2, len(w.axes)), "the kernel's window")
    if b is not None:
        op.tie(b.axes[0], w.axes[0])
    return [*x.axes[:c], w.axes[0], *space(op, x, op.shapes[0], c + 1)]


def tie_groups(op: Op, whole: int, grouped: int, inner: int) -> None:
    """``whole`` is groups times ``inner``; ``grouped`` is groups times something of its own."""
    groups = op["groups"] or 1
    if groups == 1:
        return op.tie(whole, inner)
    group = op.notes["groups"] = op.axes.leaf(groups)
    op.tie(whole, op.axes.product([group, inner]))
    return op.tie(grouped, op.axes.product([group, op.axes.leaf(op.axes.sizes[grouped] // groups)]))


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def transposed(op: Op) -> list[int]:
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


@rule("batch_norm", "instance_norm", "native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm")
def channel_norm(op: Op) -> list[int] | list[list[int]]:
    """Everything of one axis goes with the channels."""
    x, *rest = op.tensors
    for value in rest:
        op.tie(value.axes[0], x.axes[1])
    out = list(x.axes)
    return [out, *([op.axes.leaf(n) for n in s] for s in op.shapes[1:])] if len(op.shapes) > 1 else out


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


@rule("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d",
      "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
      "max_pool2d_with_indices", "_adaptive_avg_pool2d", "upsample_nearest1d", "upsample_nearest2d",
      "upsample_nearest3d", "upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d",
      "_upsample_nearest_exact2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "lp_pool2d",
      "replication_pad3d", "max_pool1d_with_indices", "max_pool3d_with_indices")
def pooling(op: Op) -> list[int] | list[list[int]]:
    """Space changes, channels stay."""
    x = op.tensors[0]
    spatial = next(int(c) for c in op.name if c.isdigit() and c in "123" and f"{c}d" in op.name)
    first = len(x.axes) - spatial
    outs = [[*x.axes[:first], *space(op, x, shape, first)] for shape in op.shapes]
    return outs if len(outs) > 1 else outs[0]


@rule("grid_sampler", "grid_sampler_2d", "grid_sampler_3d")
def grid_sample(op: Op) -> list[int]:
    """Sampled at points: channels stay."""
    x, grid = op["input"], op["grid"]
    op.fix(grid, range(len(grid.axes)), "points")
    return [x.axes[0], x.axes[1], *space(op, x, op.shapes[0], 2)]


@rule("_weight_norm", "_weight_norm_interface")
def weight_norm(op: Op) -> Value | list[list[int]]:
    """A direction times a length: the shape of the direction."""
    v, g = op["v"], op["g"]
    for a, b in zip(v.axes, g.axes, strict=True):
        if op.axes.sizes[a] == op.axes.sizes[b]:
            op.tie(a, b)
    if len(op.shapes) > 1:
        return [list(v.axes), list(g.axes)]
    return Value(v.shape, list(v.axes), v.origin)


@rule("embedding", "embedding_bag")
def embedding(op: Op) -> list[int] | list[list[int]]:
    """Rows picked by number: the rows are fixed, the columns produced."""
    w, index = op["weight"], op["indices"]
    op.fix(w, [0], "rows picked by number")
    op.role(w, 1, "out")
    if len(op.shapes) > 1:
        return [[op.fixed(op.shapes[0][0]), w.axes[1]], *([op.fixed(n) for n in s] for s in op.shapes[1:])]
    return [*index.axes, w.axes[1]]


GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


@rule("lstm", "gru", "rnn_tanh", "rnn_relu")
def recurrent(op: Op) -> list[list[int]]:
    """Gates times units; all layers and directions keep the same units, since their states are one tensor."""
    x, ways = op["input"], 2 if op["bidirectional"] else 1
    states = op["hx"] if isinstance(op["hx"], list) else [op["hx"]]
    per = len(op["params"]) // (op["num_layers"] * ways)
    features, tied = x.axes[-1], states[0].axes[-1]
    for start in range(0, len(op["params"]), per * ways):
        cells = [cell(op, op["params"][start + per * w:start + per * (w + 1)], features) for w in range(ways)]
        for out, memory in cells:
            op.tie(out, tied)
            op.tie(memory, states[-1].axes[-1])
        features = op.axes.sum([out for out, _ in cells])
    for state in states:
        op.fix(state, [0], "layers and directions")
    return [[*x.axes[:-1], features], *(list(h.axes) for h in states)]


def cell(op: Op, params: list[Value], features: int) -> tuple[int, int]:
    """Tie the weights of one layer and direction; gives the axes of its output and of its memory."""
    w_ih, w_hh, *rest = params
    gates = op.fixed(GATES[op.name], "the gates of a recurrent cell")
    memory = op.axes.leaf(w_ih.shape[0] // GATES[op.name])
    packed = op.axes.product([gates, memory])
    op.tie(w_ih.axes[1], features)
    for value in [w_ih, w_hh, *(b for b in rest if len(b.axes) == 1)]:
        op.tie(value.axes[0], packed)
        op.role(value, 0, "out")
    op.role(w_ih, 1, "in")
    op.role(w_hh, 1, "in")
    for projection in (p for p in rest if len(p.axes) == 2):
        op.tie(projection.axes[1], memory)
        op.tie(projection.axes[0], w_hh.axes[1])
        op.role(projection, 0, "out")
        op.role(projection, 1, "in")
        return projection.axes[0], memory
    op.tie(w_hh.axes[1], memory)
    return memory, memory
