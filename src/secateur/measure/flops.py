"""Floating-point operations of a network, counted on one example."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from secateur import graph
from secateur.core.module_state import evaluating
from secateur.core.modules import device_of
from secateur.core.tensors import to_device
from secateur.core.types import Target
from secateur.measure.size import nonzeros


@dataclass(frozen=True)
class Work:
    """The arithmetic of one forward pass.

    ``flops`` counts two for every multiply-add of the matrix products, convolutions and attention products that
    torch's own counter knows, and of LSTMs; ``positions`` is how often each weight of a target is used.
    """

    flops: int
    positions: dict[str, int]

    def nonzero_flops(self, model: nn.Module, counts: dict[str, int] | None = None) -> int:
        """The FLOPs that do not multiply by a zero weight; ``counts`` is as in :func:`size`."""
        counts = nonzeros(model) if counts is None else counts
        return self.flops - sum(2 * times * (model.get_parameter(name).numel() - counts[name])
                                for name, times in self.positions.items())


def flop_counter() -> FlopCounterMode:
    """torch's own counter of FLOPs, which alone would count nothing for an LSTM that runs as one operator of oneDNN.

    >>> with flop_counter() as counter, torch.no_grad():
    ...     _ = nn.LSTM(3, 5)(torch.zeros(7, 2, 3))
    >>> counter.get_total_flops() == 2 * 7 * 2 * 4 * 5 * (3 + 5)
    True
    """
    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.mkldnn_rnn_layer: _lstm_flops})


def _lstm_flops(inputs: Sequence[int], to_input: Sequence[int], to_state: Sequence[int], *_: Any, **__: Any) -> int:
    """Two for every weight at each of the places ``(length, samples)``; from shapes."""
    return 2 * inputs[0] * inputs[1] * (math.prod(to_input) + math.prod(to_state))


def work(model: nn.Module, example: Any) -> Work:
    """Count the FLOPs of one forward pass of ``example``, whose batch should be 1.

    Zeros in the weights of recurrent layers are counted: how often torch uses them is not visible from outside.
    """
    positions: dict[str, int] = {}
    hooks = [model.get_submodule(t.module).register_forward_hook(_count(t, positions)) for t in graph.targets(model)
             if t.kind != "recurrent"]
    try:
        with evaluating(model), flop_counter() as counter, torch.no_grad():
            args, kwargs = to_device(graph.inputs(example), device_of(model))
            model(*args, **kwargs)
    finally:
        for hook in hooks:
            hook.remove()
    return Work(counter.get_total_flops(), positions)


def _count(target: Target, positions: dict[str, int]) -> Any:
    """A hook that adds up how often each weight of a layer is used: once for every place of an output unit, or of an
    input unit where the convolution is transposed."""
    is_transposed = "transpose" in target.kind
    units = target.shape[target.axes.index("in" if is_transposed else "out")]

    def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        places = (inputs[0] if is_transposed else output).numel() // units
        positions[target.name] = positions.get(target.name, 0) + places

    return hook


def flops_of(network: nn.Module, example: Any, zeros: bool) -> int:
    """The FLOPs of a network for one example; ``zeros`` leaves out those that multiply by a zero weight."""
    counted = work(network, example)
    return counted.nonzero_flops(network) if zeros else counted.flops
