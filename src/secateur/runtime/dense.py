"""The engine ``torch``: the network as torch runs it, which is what everything falls back to."""

from __future__ import annotations

import copy
import functools
import warnings
from typing import Any

from torch import nn

from secateur.runtime.base import Compiled


class DenseNetwork(Compiled):
    """A copy of a network, run by torch."""

    engine = "torch"

    def __init__(self, model: nn.Module, example: tuple[Any, ...]):
        super().__init__()
        del example
        self.network = copy.deepcopy(model).eval().requires_grad_(False)

    def run(self, *inputs: Any) -> Any:
        """The network's outputs."""
        return self.network(*inputs)

    def explain(self) -> str:
        """One line: everything is torch."""
        return "torch: the whole network, dense"


@functools.cache
def warn_once(reason: str) -> None:
    """Warn, once in a process for each reason, that torch runs in place of the kernels."""
    warnings.warn(f"sparse kernels are not used: {reason}; torch runs the network", RuntimeWarning, stacklevel=4)
