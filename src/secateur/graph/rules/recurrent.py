"""Recurrent networks: gates times units."""

from __future__ import annotations

from secateur.graph.rules.base import Call, TensorAxes, rule

_GATES = {"lstm": 4, "gru": 3, "rnn": 1}


@rule("lstm", "gru", "rnn_tanh", "rnn_relu")
def recurrent(call: Call) -> list[list[int]]:
    """Gates times units; all layers and directions keep the same units, since their states are one tensor."""
    x, ways = call["input"], 2 if call["bidirectional"] else 1
    states = call["hx"] if isinstance(call["hx"], list) else [call["hx"]]
    per = len(call["params"]) // (call["num_layers"] * ways)
    features, tied = x.axes[-1], states[0].axes[-1]
    for start in range(0, len(call["params"]), per * ways):
        cells = [cell(call, call["params"][start + per * w:start + per * (w + 1)], features) for w in range(ways)]
        for out, memory in cells:
            call.tie(out, tied)
            call.tie(memory, states[-1].axes[-1])
        features = call.axes.sum([out for out, _ in cells])
    for state in states:
        call.fix(state, [0], "layers and directions")
    return [[*x.axes[:-1], features], *(h.axes for h in states)]


@rule("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
def single(call: Call) -> list[list[int]]:
    """One step: what goes in and what comes out of the memory are the same units."""
    states = call["hx"] if isinstance(call["hx"], list) else [call["hx"]]
    params = [call[name] for name in ("w_ih", "w_hh", "b_ih", "b_hh") if call[name] is not None]
    for unit, state in zip(cell(call, params, call["input"].axes[-1]), states, strict=False):
        call.tie(unit, state.axes[-1])
    return [[*call["input"].axes[:-1], state.axes[-1]] for state in states]


def cell(call: Call, params: list[TensorAxes], features: int) -> tuple[int, int]:
    """Tie the weights of one layer and direction; returns the axes of its output and of its memory."""
    w_ih, w_hh, *rest = params
    count = _GATES[call.name.partition("_")[0]]
    gates, memory = call.fixed_axis(count, "the gates of a recurrent cell"), call.axes.leaf(w_ih.shape[0] // count)
    packed = call.axes.product([gates, memory])
    call.tie(w_ih.axes[1], features)
    for value in [w_ih, w_hh, *(b for b in rest if len(b.axes) == 1)]:
        call.tie(value.axes[0], packed)
        call.role(value, 0, "out")
    call.role(w_ih, 1, "in")
    call.role(w_hh, 1, "in")
    for projection in (p for p in rest if len(p.axes) == 2):
        call.tie(projection.axes[1], memory)
        call.tie(projection.axes[0], w_hh.axes[1])
        call.role(projection, 0, "out")
        call.role(projection, 1, "in")
        return projection.axes[0], memory
    call.tie(w_hh.axes[1], memory)
    return memory, memory
