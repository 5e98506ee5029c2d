"""Cuts that are tried while a plan is made: networks with so many items of each layer gone, and what they run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.core.errors import SecateurError
from secateur.core.pytree import repeat
from secateur.data.calibration import Calibration, join
from secateur.pruning.granularity.base import Layer

_MOST_SAMPLES = 1024
"""Enough for a mean over samples; a scan runs the network some eight times a layer on each of them."""

Bounds = Sequence[tuple[int, int]]
"""The fewest and the most items of every layer that may go."""


@dataclass(frozen=True, eq=False)
class Trials:
    """Layers of a network that can be cut by any counts of their items.

    Attributes:
        model: the network as it is.
        layers: those that are cut.
        bounds: how many items of each may go.
        cut: gives the network with so many items of each layer gone.
        left: gives how many weights of one layer are left, for each of some counts of its items that go.
        samples: what ``data=`` gave.
    """

    model: nn.Module
    layers: tuple[Layer, ...]
    bounds: Bounds
    cut: Callable[[Sequence[int]], nn.Module]
    left: Callable[[int, NDArray[Any]], NDArray[Any]]
    samples: Calibration | None = None

    def cut_one(self, index: int, count: int) -> nn.Module:
        """The network with items of one layer alone gone."""
        return self.cut([count if i == index else 0 for i in range(len(self.layers))])

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs, where they are keyword arguments."""
        return self.samples.names if self.samples is not None else ()

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """The first samples, a tensor ``(n, ...)`` for each argument of the network.

        Raises:
            SecateurError: there are none, or one of them is no tensor.
        """
        if self.samples is None:
            raise SecateurError("data= is missing: samples of the network's input; got None")
        return tuple(column[:_MOST_SAMPLES] for column in join(self.samples.first(_MOST_SAMPLES)))

    def example(self, batch: int) -> Any:
        """As many samples as a batch has, from the start again where there are fewer: a tuple, or a dict by name."""
        found = repeat(self.inputs, batch)
        return dict(zip(self.names, found, strict=True)) if self.names else found
