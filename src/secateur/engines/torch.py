"""torch as it is: zeros are multiplied like other numbers, removed neurons are not there."""

from __future__ import annotations

import torch
from torch import nn

from secateur.engines.base import Call, Engine, Inputs

_PLAIN, _CHANNELS_LAST = "plain", "channels_last"


class Torch(Engine):
    """torch, eager, in inference mode; a network of convolutions also with channels as the last axis in memory.

    torch's guide to fast inference on CPUs advises both. ``torch.compile`` is not run: it compiles for minutes and
    needs a C++ compiler.
    """

    title = "torch"

    def ways(self, network: nn.Module) -> tuple[str, ...]:
        """Plain, and with channels last where a weight has four axes."""
        return (_PLAIN, _CHANNELS_LAST) if any(p.ndim == 4 for p in network.parameters()) else ("",)

    def prepare(self, network: nn.Module, inputs: Inputs, threads: int, way: str = "") -> Call:
        """The network itself."""
        if way != _CHANNELS_LAST:
            return lambda x: network(*x)
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return lambda x: network(*map(in_channels_last, x))


def in_channels_last(x: torch.Tensor) -> torch.Tensor:
    """Images, which have four axes, with the channels as the last axis in memory; other tensors as they are."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
