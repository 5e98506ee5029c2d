"""What a cut network costs, layer by layer: parameters, zero-aware FLOPs, bytes, measured milliseconds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur import runtime
from secateur.core.errors import SecateurError
from secateur.core.modules import same_modes
from secateur.measure.flops import work
from secateur.measure.size import size, sparse_bytes
from secateur.pruning.trial import Trials
from secateur.runtime import breakeven

Numbers = NDArray[np.float64]
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Parts of a layer's neurons at which a cut network is made and measured; costs in between are read off lines."""
_TIMED = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
"""Sparsities at which a layer is timed: sparse kernels begin to pay in the upper half."""


class Costs(ABC):
    """The cost of a network in one resource, and what each layer adds to it.

    ``exact`` says whether a network costs what its layers do together with :attr:`rest`, ``timed`` whether it is
    measured by a clock.
    """

    timed: ClassVar[bool] = False

    def __init__(self, trials: Trials, batch: int = 1):
        self.trials, self.batch = trials, batch
        self.units = any(layer.group for layer in trials.layers)
        self.exact = not self.units and not self.timed
        self._seen: dict[tuple[int, ...], float] = {}

    @abstractmethod
    def real(self, network: Any) -> float:
        """What a network costs."""

    @abstractmethod
    def weights(self, index: int, left: NDArray[Any]) -> Numbers:
        """What a layer costs of which so many weights are left."""

    @cached_property
    def whole(self) -> float:
        """What the network costs before any cut."""
        return self.real(self.trials.model)

    def of(self, counts: Sequence[int]) -> float:
        """What the network costs with so many items of each layer cut; measured once."""
        if (key := tuple(counts)) not in self._seen:
            self._seen[key] = self.real(self.trials.cut(counts))
        return self._seen[key]

    def layer(self, index: int, removed: NDArray[Any]) -> Numbers:
        """What a layer costs of which so many items are cut, the others being whole."""
        if self.units:
            return self._probe(index, removed)
        return self.weights(index, self.trials.left(index, removed))

    def _probe(self, index: int, removed: NDArray[Any]) -> Numbers:
        """Neurons: networks with only this layer cut, what they cost less than the original, read off between."""
        most = self.trials.layers[index].items - 1
        counts = sorted({round(share * most) for share in _SHARES})
        seen = [self.real(self.trials.cut_one(index, count)) for count in counts]
        # Never rising: what timing says of a smaller layer may by chance be more.
        return np.interp(removed, counts, np.minimum.accumulate(seen)) - min(seen)

    @cached_property
    def rest(self) -> float:
        """What the network costs besides these layers, those that stand alone being cut already."""
        layers = range(len(self.trials.layers))
        return self.of([0 for _ in layers]) - sum(float(self.layer(i, np.zeros(1))[0]) for i in layers)

    @property
    def example(self) -> Any:
        """The inputs of a batch."""
        return self.trials.example(self.batch)


class Parameters(Costs):
    """Parameters that are not zero."""

    def real(self, network: Any) -> float:
        """How many there are."""
        return float(size(network)["nonzeros"])

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
        return 2.0 * self._positions.get(self.trials.layers[index].name, 0) * left

    @cached_property
    def _positions(self) -> dict[str, int]:
        return work(self.trials.model, self.example).positions


class Bytes(Costs):
    """Bytes on disk, each tensor in the smallest of dense, bitmask and CSR."""

    def real(self, network: Any) -> float:
        """The sum over all parameters and buffers."""
        return float(size(network)["bytes_sparse"])

    def weights(self, index: int, left: NDArray[Any]) -> Numbers:
        """The smallest form of the tensor."""
        tensor = self.trials.model.get_parameter(self.trials.layers[index].name)
        return np.array([sparse_bytes(tensor, int(n)) for n in left], dtype=np.float64)


class Milliseconds(Costs):
    """The median of timed calls on this machine: zeros on the runtime's kernels, smaller networks in torch."""

    timed = True

    def real(self, network: Any) -> float:
        """Milliseconds of a call, compiled where weights are zero."""
        network = network.eval()
        if not self.units and network is not self.trials.model:
            network = runtime.compile(network, self.example, budget=0.5)
        return 1e3 * breakeven.median_seconds(network, self.example)

    def weights(self, index: int, left: NDArray[Any]) -> Numbers:
        """Read off the curve of the layer."""
        sparsities, ms = self._curves[index]
        total = self.trials.model.get_parameter(self.trials.layers[index].name).numel()
        return np.interp(1 - left / total, sparsities, ms)

    @cached_property
    def _curves(self) -> list[tuple[list[float], Numbers]]:
        """For every layer the sparsities and milliseconds of the faster of torch and the kernels, never rising."""
        modules = [layer.name.rpartition(".")[0] for layer in self.trials.layers]
        seen, curves = _layer_inputs(self.trials.model, modules, self.example), []
        for layer in self.trials.layers:
            module = layer.name.rpartition(".")[0]
            points = breakeven.layer_curve(self.trials.model.get_submodule(module), seen[module], _TIMED)
            least = [1e3 * min(p.dense, p.sparse) for p in points]
            curves.append(([p.sparsity for p in points], np.minimum.accumulate(least)))
        return curves


RESOURCES: dict[str, type[Costs]] = {"parameters": Parameters, "flops": Flops, "bytes": Bytes, "ms": Milliseconds}


def costs(resource: str, batch: int, trials: Trials) -> Costs:
    """What counts a resource.

    Raises:
        SecateurError: milliseconds of a network of keyword inputs, which is not compiled as it is.
    """
    if resource == "ms" and trials.names:
        raise SecateurError("budget ms needs a network with positional inputs, got inputs by name "
                            f"({', '.join(trials.names)}); allowed: parameters, flops, bytes")
    return RESOURCES[resource](trials, batch)


def _layer_inputs(model: nn.Module, names: Sequence[str], example: tuple[Tensor, ...]) -> dict[str, Tensor]:
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
