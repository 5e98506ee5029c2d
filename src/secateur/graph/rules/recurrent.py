"""Recurrent networks: gates times units."""

from __future__ import annotations

from secateur.graph.rules.base import Op, Value, rule

_GATES = {"lstm": 4, "gru": 3, "rnn": 1}


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
    return [[*x.axes[:-1], features], *(h.axes for h in states)]


@rule("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
def single(op: Op) -> list[list[int]]:
    """One step: what goes in and what comes out of the memory are the same units."""
    states = op["hx"] if isinstance(op["hx"], list) else [op["hx"]]
    params = [op[name] for name in ("w_ih", "w_hh", "b_ih", "b_hh") if op[name] is not None]
    for unit, state in zip(cell(op, params, op["input"].axes[-1]), states, strict=False):
        op.tie(unit, state.axes[-1])
    return [[*op["input"].axes[:-1], state.axes[-1]] for state in states]


def cell(op: Op, params: list[Value], features: int) -> tuple[int, int]:
    """Tie the weights of one layer and direction; gives the axes of its output and of its memory."""
    w_ih, w_hh, *rest = params
    count = _GATES[op.name.partition("_")[0]]
    gates, memory = op.fixed_axis(count, "the gates of a recurrent cell"), op.axes.leaf(w_ih.shape[0] // count)
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
