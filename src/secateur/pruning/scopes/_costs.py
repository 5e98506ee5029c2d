"""What a cut network costs, layer by layer: parameters, zero-aware FLOPs, bytes, measured milliseconds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur import runtime
from secateur.core.errors import SecateurError
from secateur.core.modules import same_modes
from secateur.measure.flops import work
from secateur.measure.size import nonzeros, size, sparse_bytes
from secateur.pruning.budget import Budget
from secateur.pruning.granularity.base import Layer
from secateur.pruning.scopes.base import Given
from secateur.runtime import breakeven

Numbers = NDArray[np.float64]
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
TIMED = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)


class Costs(ABC):
    """The cost of a network in one resource, and what each layer adds to it.

    ``exact`` says whether a network costs what its layers do together with :attr:`rest`.
    """

    def __init__(self, layers: Sequence[Layer], given: Given, batch: int = 1):
        self.layers, self.given, self.batch = layers, given, batch
        self.units = any(layer.group for layer in layers)
        self.exact = not self.units

    @abstractmethod
    def real(self, network: Any) -> float:
        """What a network costs."""

    @abstractmethod
    def weights(self, index: int, left: NDArray[Any]) -> Numbers:
        """What a layer costs of which so many weights are left."""

    def layer(self, index: int, removed: NDArray[Any]) -> Numbers:
        """What a layer costs of which so many items are cut, the others being whole."""
        if self.units:
            return self._probed(index, removed)
        layer = self.layers[index]
        return self.weights(index, (layer.items - removed) * self.given.sizes[index])

    def _probed(self, index: int, removed: NDArray[Any]) -> Numbers:
        """Neurons: networks with only this layer cut, what they cost less than the original, read off between."""
        assert self.given.network is not None
        most = self.layers[index].items - 1
        counts = sorted({round(share * most) for share in SHARES})
        seen = [self.real(self.given.network([c if i == index else 0 for i in range(len(self.layers))]))
                for c in counts]
        found: Numbers = np.interp(removed, counts, np.minimum.accumulate(seen)) - min(seen)
        return found

    @cached_property
    def rest(self) -> float:
        """What the network costs besides these layers, those that stand alone being cut already."""
        assert self.given.network is not None
        uncut = self.real(self.given.network([0] * len(self.layers)))
        return uncut - sum(float(self.layer(i, np.zeros(1))[0]) for i in range(len(self.layers)))

    @property
    def example(self) -> Any:
        """As many samples as the batch has, from the start again where there are fewer: a tuple, or a dict by name."""
        found = tuple(x[torch.arange(self.batch) % len(x)] for x in self.given.inputs)
        names = self.given.samples.names if self.given.samples is not None else ()
        return dict(zip(names, found, strict=True)) if names else found


class Parameters(Costs):
    """Parameters that are not zero."""

    def real(self, network: Any) -> float:
        """How many there are."""
        return float(sum(int(torch.count_nonzero(p)) for p in network.parameters()))

    def weights(self, index: int, left: NDArray[Any]) -> Numbers:
        """One each."""
        return left.astype(np.float64)


class Flops(Costs):
    """Zero-aware FLOPs of one sample."""

    def real(self, network: Any) -> float:
        """Two for every multiply-add with a weight that is not zero."""
        return float(work(network, self.example).nonzero_flops(network))

    def weights(self, index: int, left: NDArray[Any]) -> Numbers:
        """Two for every time that a weight is used."""
        return 2.0 * self._positions.get(self.layers[index].name, 0) * left

    @cached_property
    def _positions(self) -> dict[str, int]:
        return work(self.given.model, self.example).positions


class Bytes(Costs):
    """Bytes on disk, each tensor in the smallest of dense, bitmask and CSR."""

    def real(self, network: Any) -> float:
        """The sum over all parameters and buffers."""
        return float(size(network, nonzeros(network))["bytes_sparse"])

    def weights(self, index: int, left: NDArray[Any]) -> Numbers:
        """The smallest form of the tensor."""
        tensor = self.given.model.get_parameter(self.layers[index].name)
        return np.array([sparse_bytes(tensor, int(n)) for n in left], dtype=np.float64)


class Milliseconds(Costs):
    """The median of timed calls on this machine: zeros on the runtime's kernels, smaller networks in torch."""

    def __init__(self, layers: Sequence[Layer], given: Given, batch: int = 1):
        super().__init__(layers, given, batch)
        self.exact = False

    def real(self, network: Any) -> float:
        """Milliseconds of a call, compiled where weights are zero."""
        network = network.eval()
        if not self.units and network is not self.given.model:
            network = runtime.compile(network, self.example, budget=0.5)
        return 1e3 * breakeven.median_seconds(network, self.example)

    def weights(self, index: int, left: NDArray[Any]) -> Numbers:
        """Read off the curve of the layer."""
        sparsities, ms = self._curves[index]
        total = self.given.model.get_parameter(self.layers[index].name).numel()
        found: Numbers = np.interp(1 - left / total, sparsities, ms)
        return found

    @cached_property
    def _curves(self) -> list[tuple[list[float], Numbers]]:
        """For every layer the sparsities and milliseconds of the faster of torch and the kernels, never rising."""
        seen = layer_inputs(self.given.model, [layer.name.rpartition(".")[0] for layer in self.layers], self.example)
        curves = []
        for layer in self.layers:
            module = layer.name.rpartition(".")[0]
            points = breakeven.layer_curve(self.given.model.get_submodule(module), seen[module], TIMED)
            least = [1e3 * min(p.dense, p.sparse) for p in points]
            curves.append(([p.sparsity for p in points], np.minimum.accumulate(least)))
        return curves


RESOURCES: dict[str, type[Costs]] = {"parameters": Parameters, "flops": Flops, "bytes": Bytes, "ms": Milliseconds}


def costs(budget: Budget, layers: Sequence[Layer], given: Given) -> Costs:
    """What counts a budget's resource.

    Raises:
        SecateurError: milliseconds of a network of keyword inputs, which is not compiled as it is.
    """
    if budget.resource == "ms" and given.samples is not None and given.samples.names:
        raise SecateurError("budget ms takes networks of positional inputs, got data by argument "
                            f"({', '.join(given.samples.names)}); allowed: parameters, flops, bytes")
    return RESOURCES[budget.resource](layers, given, budget.batch)


def layer_inputs(model: nn.Module, names: Sequence[str], example: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """What each of some modules is given in one call of the network.

    Raises:
        SecateurError: a module is not called, or not with one tensor.
    """
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda _, inputs: seen.__setitem__(name, inputs[0].detach())

    hooks = [model.get_submodule(name).register_forward_pre_hook(keep(name)) for name in names]
    try:
        with same_modes(model), torch.no_grad():
            model.eval()(*example)
    finally:
        for hook in hooks:
            hook.remove()
    if missing := [name for name in names if name not in seen]:
        raise SecateurError(f"layers {', '.join(missing)} are not called by the network, so they cannot be timed; skip "
                            "them")
    return seen
