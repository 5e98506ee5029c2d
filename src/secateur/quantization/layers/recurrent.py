"""Recurrent layers: LSTM, GRU and plain tanh cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from secateur.core.errors import UnsupportedError
from secateur.quantization.arithmetic import bias_codes, least_scale, weight_codes
from secateur.quantization.layers.base import Inputs, Int8Layer, described
from secateur.quantization.operators import linear
from secateur.quantization.ranges import Range
from secateur.quantization.scales import scales_of

_STATE = Range(-1.0, 1.0)
"""The outputs of these cells lie between these, whatever the samples are."""
_MODES = frozenset({"LSTM", "GRU", "RNN_TANH"})


class Int8Recurrent(Int8Layer):
    """:class:`torch.nn.LSTM`, :class:`torch.nn.GRU` and :class:`torch.nn.RNN` with tanh, in eight bits.

    The products with inputs and with the state are those of int8; gates are computed in float32. Packed sequences
    are not taken.
    """

    kinds = (nn.LSTM, nn.GRU, nn.RNN)

    mode: str
    hidden_size: int
    layers: int
    directions: int
    batch_first: bool
    state_scale: Tensor | None
    state_zero: Tensor | None

    @classmethod
    def refusal(cls, module: nn.Module) -> str:
        """What has no twin here: cells of ReLU, whose state has no bounds, and projections."""
        if getattr(module, "mode", "") not in _MODES:
            return "its state has no bounds (nonlinearity 'relu')"
        return "it projects its outputs (proj_size)" if getattr(module, "proj_size", 0) else ""

    @classmethod
    def of(cls, module: Any, inputs: Inputs) -> Self:
        """The layer that stands for a recurrent layer of torch; all of its weights are rounded to nearest."""
        made = cls()
        made.mode, made.hidden_size, made.layers = module.mode, module.hidden_size, module.num_layers
        made.directions, made.batch_first = 1 + module.bidirectional, module.batch_first
        made.keep_inputs(inputs)
        state = _STATE.tensors() if inputs.static is not None else (None, None)
        made.keep("state_scale", state[0])
        made.keep("state_zero", state[1])
        for name, own in module.named_parameters():
            if name.startswith("weight"):
                made._hold(name, own.detach(), None if (b := getattr(module, name.replace("weight", "bias"), None))
                           is None else b.detach())
        return made.to(next(module.parameters()).device)

    def _hold(self, name: str, weight: Tensor, bias: Tensor | None) -> None:
        first = name.startswith("weight_ih_l0")
        given = self.input_scale if first else self.state_scale
        given = None if given is None else given.to(weight.device)
        scale = scales_of(weight, least_scale(bias, given))
        self.keep(name.replace("weight", "codes"), weight_codes(weight, scale))
        self.keep(name.replace("weight", "scale"), scale)
        self.keep(name.replace("weight", "bias"),
                  bias if bias is None or given is None else bias_codes(bias, given * scale))

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """As the layer of torch: outputs, and the last state of every layer and direction."""
        if not isinstance(x, Tensor):
            raise UnsupportedError(f"an int8 {self.mode} got a {type(x).__name__}; allowed is a tensor: keep the layer "
                                   "in float32 for packed sequences (keep=)")
        alone = x.ndim == 2
        x = x[:, None] if alone else x.transpose(0, 1) if self.batch_first else x
        started = self._start(x, state, alone)
        last = []
        for layer in range(self.layers):
            each = [self._direction(x, layer, direction, started) for direction in range(self.directions)]
            x = torch.cat([y for y, _ in each], -1)
            last += [ended for _, ended in each]
        x = x[:, 0] if alone else x.transpose(0, 1) if self.batch_first else x
        parts = [torch.stack(one) for one in zip(*last, strict=True)]
        parts = [one[:, 0] for one in parts] if alone else parts
        return x, tuple(parts) if self.mode == "LSTM" else parts[0]

    def _start(self, x: Tensor, state: Any, alone: bool) -> list[Tensor]:
        """The first state: one tensor ``(layers * directions, samples, size)``, two of an LSTM."""
        count = 2 if self.mode == "LSTM" else 1
        if state is None:
            size = (self.layers * self.directions, x.shape[1], self.hidden_size)
            return [x.new_zeros(size) for _ in range(count)]
        given = list(state) if self.mode == "LSTM" else [state]
        return [one[:, None] if alone else one for one in given]

    def _direction(self, x: Tensor, layer: int, direction: int,
                   started: list[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The outputs of one direction of one layer, and its last state."""
        end = f"l{layer}{'_reverse' if direction else ''}"
        given = self._product(f"ih_{end}", x, self.input_scale if layer == 0 else self.state_scale,
                              self.input_zero if layer == 0 else self.state_zero)
        state = tuple(one[layer * self.directions + direction] for one in started)
        steps = range(len(x))[::-1] if direction else range(len(x))
        outputs, cell = [given] * len(x), _CELLS[self.mode]
        for step in steps:
            state = cell(given[step], self._product(f"hh_{end}", state[0], self.state_scale, self.state_zero), state)
            outputs[step] = state[0]
        return torch.stack(outputs), state

    def _product(self, end: str, x: Tensor, scale: Tensor | None, zero: Tensor | None) -> Tensor:
        codes, scales, bias = (getattr(self, f"{kind}_{end}") for kind in ("codes", "scale", "bias"))
        return linear(x, codes, scales, bias, scale, zero)

    def extra_repr(self) -> str:
        """The cell and its sizes, and how inputs become codes."""
        return (f"{self.mode}, {self.hidden_size}, layers={self.layers}, directions={self.directions}, "
                f"{described(self.input_scale, self.input_zero)}")


def _lstm(given: Tensor, own: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    i, f, g, o = (given + own).chunk(4, -1)
    cell = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


def _gru(given: Tensor, own: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    (r, z, n), (own_r, own_z, own_n) = given.chunk(3, -1), own.chunk(3, -1)
    z = torch.sigmoid(z + own_z)
    new = torch.tanh(n + torch.sigmoid(r + own_r) * own_n)
    return ((1 - z) * new + z * state[0],)


def _tanh(given: Tensor, own: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    del state
    return (torch.tanh(given + own),)


_CELLS: dict[str, Callable[[Tensor, Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]] = {
    "LSTM": _lstm, "GRU": _gru, "RNN_TANH": _tanh}
