"""torch in bfloat16; zeros are multiplied like other numbers, removed neurons are not there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from secateur.core.processor import has_bf16
from secateur.engines.base import Call, Engine, Inputs
from secateur.engines.torch import in_channels_last

_CONVERTED, _AUTOCAST, _CHANNELS_LAST = "converted", "autocast", "converted, channels_last"


class TorchBf16(Engine):
    """torch, eager, in inference mode, in bfloat16: eight significant bits, the range of float32.

    ``converted`` has the network's weights and the floating-point inputs in bfloat16, with ``channels_last`` also
    channels as the last axis in memory. ``autocast`` is torch's own choice of what loses nothing in bfloat16: it
    keeps the weights in float32, and rounds them in every call. Outputs are given in float32.
    """

    title = "torch"
    rounds = True

    def refusals(self) -> list[str]:
        """Where the processor has no instructions for bfloat16."""
        return [] if has_bf16() else ["the processor has no instructions for bfloat16 (avx512_bf16, amx_bf16, or bf16 "
                                      "of ARM), so that it would be slower than float32"]

    def precision(self) -> str:
        """bfloat16."""
        return "bfloat16"

    def ways(self, network: nn.Module) -> tuple[str, ...]:
        """All; channels last where a weight has four axes, autocast where one is in float32: it rounds no others."""
        parameters = [*network.parameters()]
        has_images = any(p.ndim == 4 for p in parameters)
        rounds = any(p.dtype == torch.float32 for p in parameters)
        return (_CONVERTED, *[_CHANNELS_LAST] * has_images, *[_AUTOCAST] * rounds)

    def prepare(self, network: nn.Module, inputs: Inputs, threads: int, way: str = _CONVERTED) -> Call:
        """The network itself, its weights converted or not."""
        if way == _AUTOCAST:
            return lambda x: _to_float(_autocast(network, x))
        network = network.to(torch.bfloat16)
        if way != _CHANNELS_LAST:
            return lambda x: _to_float(network(*map(_to_bf16, x)))
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return lambda x: _to_float(network(*(in_channels_last(_to_bf16(one)) for one in x)))


def _autocast(network: nn.Module, inputs: Inputs) -> Any:
    """The outputs of a network in which torch chooses what is computed in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16):
        return network(*inputs)


def _to_bf16(x: Tensor) -> Tensor:
    """A tensor in bfloat16 where it is of floats."""
    return x.to(torch.bfloat16) if x.is_floating_point() else x


def _to_float(outputs: Any) -> Any:
    """Outputs, nested in any way, in float32 where they are in bfloat16."""
    return pytree.tree_map(lambda y: y.float() if isinstance(y, Tensor) and y.dtype == torch.bfloat16 else y, outputs)
