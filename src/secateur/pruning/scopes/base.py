"""The contract of a scope: which items compete, and how many of each set of competitors go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor, nn

from secateur.core.errors import SecateurError
from secateur.data.calibration import Calibration
from secateur.pruning.budget import Budget, inputs_of
from secateur.pruning.granularity.base import Layer
from secateur.pruning.ranking import removal_count

Bounds = Sequence[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class Given:
    """What a scope may ask for besides the scores.

    ``model`` is the network as it is; ``samples`` what ``data=`` gave; ``budget`` what the cut network may cost;
    ``sizes`` how many weights an item of each layer is; ``network`` gives the network with so many items of each
    layer cut; ``scan`` gives :func:`secateur.pruning.scopes._scan.scan` of the layers, made once; ``tell`` takes
    what the notes of the plan should say.
    """

    model: nn.Module
    samples: Calibration | None = None
    budget: Budget | None = None
    scan: Callable[[], Any] | None = None
    sizes: tuple[int, ...] = ()
    network: Callable[[Sequence[int]], nn.Module] | None = None
    tell: Callable[[str], None] = lambda _: None

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """The first samples, a tensor ``(n, ...)`` for each argument of the network.

        Raises:
            SecateurError: there are none.
        """
        if self.samples is None:
            raise SecateurError("data= is missing: samples of the network's input; got None")
        return inputs_of(self.samples)


class Scope(ABC):
    """Says in which sets the items compete, and how many of each set go.

    ``scores`` names the granularities (as their criteria score them) that it is defined for, ``needs`` the
    fields of :class:`Given` that it reads besides the model.
    """

    scores: ClassVar[frozenset[str]] = frozenset({"weight", "neuron"})
    needs: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def competitors(self, count: int) -> list[list[int]]:
        """A partition of the layers ``0 .. count - 1``: one list of layers a set."""

    def comparable(self, scores: list[Tensor]) -> list[Tensor]:
        """The scores as the competitors compare them; as they are unless a scope says more."""
        return scores

    def removals(self, layers: Sequence[Layer], sparsity: float, bounds: Bounds, given: Given) -> list[int]:
        """How many items of every set go: ``round(sparsity * items)`` of each unless a scope allocates.

        Args:
            layers: the layers that compete.
            sparsity: what was asked, in [0, 1).
            bounds: the least and the most that may go of each layer; a scope that allocates keeps to them.
            given: the network, and what :attr:`needs` names.
        """
        return [removal_count(sum(layers[i].items for i in members), sparsity)
                for members in self.competitors(len(layers))]


class Allocation(Scope):
    """A scope that first gives each layer a number of its own; the items of a layer compete among themselves."""

    def competitors(self, count: int) -> list[list[int]]:
        """Each layer by itself."""
        return [[i] for i in range(count)]

    @abstractmethod
    def removals(self, layers: Sequence[Layer], sparsity: float, bounds: Bounds, given: Given) -> list[int]:
        """How many items of every layer go."""


CONTRACT = Scope


def levelled(left: Callable[[float], list[float]], total: int, low: float, high: float) -> list[float]:
    """What is left of each layer where the sum is ``total``: ``left`` rises with a number found by bisection.

    >>> levelled(lambda x: [min(3.0, x), min(10.0, 2 * x)], 9, 0, 10)
    [3.0, 6.0]
    """
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(left(middle)) < total else (low, middle)
    return left(high)
