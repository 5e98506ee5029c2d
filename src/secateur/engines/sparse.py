"""The network compiled: sparse kernels where zeros pay, torch where they do not."""

from __future__ import annotations

from typing import Any

from torch import nn

from secateur import runtime
from secateur.engines.base import Call, Engine, Inputs


class Compiled:
    """A compiled network, called with the tuple of its inputs."""

    def __init__(self, network: Any):
        self.network = network

    def __call__(self, inputs: Inputs) -> Any:
        """The outputs."""
        return self.network(*inputs)


class Sparse(Engine):
    """:func:`secateur.compile`."""

    title = "compiled"
    uses_zeros = True

    def prepare(self, network: nn.Module, inputs: Inputs, threads: int, way: str = "") -> Call:
        """The compiled network; what is fastest at a batch size is measured at the first call of that size."""
        return Compiled(runtime.compile(network, inputs))

    def describe(self, call: Any) -> str:
        """Which of secateur's engines runs it."""
        return f"engine {call.network.engine}"
