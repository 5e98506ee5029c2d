"""The cut network as it is, run by torch: zeros are multiplied like other numbers, removed neurons are not there."""

from __future__ import annotations

from torch import nn

from secateur.engines.base import Call, Engine, Inputs


class Zeroed(Engine):
    """torch on the network after the cut."""

    title = "cut, torch"

    def prepare(self, network: nn.Module, inputs: Inputs, threads: int) -> Call:
        """The network itself."""
        return lambda x: network(*x)
