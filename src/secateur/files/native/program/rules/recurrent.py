"""Recurrent layers over whole sentences, which are padded."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from secateur.files.native.program.rules.base import Spec, check_size, floating, need, product_work, rule, values_in

_MOST_LAYERS = 64
_STEP = 2**19
"""Operations that a step of one layer in one direction counts as, however small it is."""


def _work(result: list[Spec], x: Spec, states: Any, params: Sequence[Spec], *rest: Any) -> int:
    """Every weight once a step and sample, and what a step takes besides."""
    steps = x.shape[1 if len(x.shape) == 3 and rest[-1] else 0]
    return product_work(values_in(params) * prod(x.shape[:-1]), x.dtype) + _STEP * steps * len(params)


@rule("lstm.input", work=_work)
def lstm(x: Spec, states: Sequence[Spec], params: Sequence[Spec], has_biases: bool, num_layers: int, dropout: float,
         train: bool, bidirectional: bool, batch_first: bool) -> list[Spec]:
    """A state of two tensors; the first one's width may be projected."""
    need(len(states) == 2, f"{len(states)} states; expected 2")
    width = states[1].shape[-1] if states[1].shape else 0
    return _run(x, states, params, has_biases, num_layers, dropout, train, bidirectional, batch_first, 4, width)


@rule("gru.input", work=_work)
def gru(x: Spec, state: Spec, params: Sequence[Spec], has_biases: bool, num_layers: int, dropout: float, train: bool,
        bidirectional: bool, batch_first: bool) -> list[Spec]:
    """Gates for reset and update."""
    return _run(x, [state], params, has_biases, num_layers, dropout, train, bidirectional, batch_first, 3)


@rule("rnn_tanh.input rnn_relu.input", work=_work)
def rnn(x: Spec, state: Spec, params: Sequence[Spec], has_biases: bool, num_layers: int, dropout: float, train: bool,
        bidirectional: bool, batch_first: bool) -> list[Spec]:
    """No gates."""
    return _run(x, [state], params, has_biases, num_layers, dropout, train, bidirectional, batch_first, 1)


def _run(x: Spec, states: Sequence[Spec], params: Sequence[Spec], biases: bool, layers: int, dropout: float,
         train: bool, both: bool, batch_first: bool, gates: int, width: int = 0) -> list[Spec]:
    """The outputs of the last layer and the last states."""
    need(not train or dropout == 0, "dropout is random; allowed is train=False")
    need(len(x.shape) in (2, 3) and 1 <= layers <= _MOST_LAYERS, f"{x} in {layers} layers")
    batched = len(x.shape) == 3
    batch = (x.shape[0 if batch_first else 1],) if batched else ()
    ways, out = 1 + both, states[0].shape[-1] if states[0].shape else 0
    width = width or out
    check_size((*x.shape, out, width), 1)
    for state, size in zip(states, (out, width), strict=False):
        need(state.shape == (layers * ways, *batch, size), f"state {state} for {x}")
    wanted = [shape for layer in range(layers) for _ in range(ways) for shape in _shapes(
        x.shape[-1] if layer == 0 else out * ways, width, out, gates, biases)]
    need([one.shape for one in params] == wanted, f"weights of shapes {[list(p.shape) for p in params][:8]}")
    kind = floating(x, *states, *params)
    return [Spec((*x.shape[:-1], out * ways), kind), *(Spec(one.shape, kind) for one in states)]


def _shapes(inputs: int, width: int, out: int, gates: int, biases: bool) -> list[tuple[int, ...]]:
    """The shapes of one layer's weights in one direction."""
    rows = gates * width
    return [(rows, inputs), (rows, out), *[(rows,)] * (2 * biases), *[(out, width)] * (out != width)]


def _step_work(result: Any, x: Spec, state: Any, *weights: Spec | None) -> int:
    """Every weight once a sample."""
    return product_work(values_in(weights) * x.shape[0], x.dtype)


@rule("lstm_cell", work=_step_work)
def lstm_cell(x: Spec, states: Sequence[Spec], *weights: Spec | None) -> list[Spec]:
    """One step with a state of two tensors."""
    need(len(states) == 2 and states[0].shape == states[1].shape, f"states {states}; expected two alike")
    return [_step(x, states[0], weights, 4), Spec(states[1].shape, floating(*states))]


@rule("gru_cell", work=_step_work)
def gru_cell(x: Spec, state: Spec, *weights: Spec | None) -> Spec:
    """One step with gates for reset and update."""
    return _step(x, state, weights, 3)


@rule("rnn_tanh_cell rnn_relu_cell", work=_step_work)
def rnn_cell(x: Spec, state: Spec, *weights: Spec | None) -> Spec:
    """One step without gates."""
    return _step(x, state, weights, 1)


def _step(x: Spec, state: Spec, weights: Sequence[Spec | None], gates: int) -> Spec:
    """The state after one step."""
    kind = floating(x, state, *weights)
    need(len(x.shape) == 2 and len(state.shape) == 2 and x.shape[0] == state.shape[0], f"{x} and state {state}")
    check_size((*x.shape, *state.shape), 1)
    rows = gates * state.shape[1]
    wanted = [(rows, x.shape[1]), (rows, state.shape[1]), (rows,), (rows,)]
    need(all(one is None or one.shape == shape for one, shape in zip(weights, wanted, strict=True))
         and None not in weights[:2], f"weights {list(weights)} for {x}")
    return Spec(state.shape, kind)
