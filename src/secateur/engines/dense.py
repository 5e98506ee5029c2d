"""The original network, run by torch: what every other engine is compared with."""

from __future__ import annotations

from torch import nn

from secateur.engines.base import Call, Engine, Inputs


class Dense(Engine):
    """torch on the network before the cut."""

    title = "dense, torch"
    original = True

    def prepare(self, network: nn.Module, inputs: Inputs, threads: int) -> Call:
        """The network itself."""
        return lambda x: network(*x)
