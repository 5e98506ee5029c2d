"""The contract of a scope: which items compete, and how many of each set of competitors go."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from secateur.core import registry
from secateur.core.bounds import is_number
from secateur.core.errors import SecateurError
from secateur.core.items import Item
from secateur.data.calibration import Calibration
from secateur.pruning.costs import Costs
from secateur.pruning.granularity.base import Layer
from secateur.pruning.ranking import removal_count, share_out
from secateur.pruning.scan import Scan
from secateur.pruning.trial import Bounds


@dataclass(frozen=True, eq=False)
class ScopeContext:
    """What a scope has besides the scores: the network, and of the others what it declared in ``needs``.

    Attributes:
        model: the network as it is.
        samples: what ``data=`` gave.
        scan: how far the outputs move when each layer is cut by itself.
        costs: what networks cost in the resource of the scope's budget.
    """

    model: nn.Module
    samples: Calibration | None = None
    scan: Scan | None = None
    costs: Costs | None = None


@dataclass(frozen=True, kw_only=True)
class Scope(Item):
    """Says in which sets the items compete, and how many of each set go.

    Its settings are the fields of a frozen dataclass. Of every layer at least ``min_sparsity`` and at most
    ``max_sparsity`` of the items go, fractions in [0, 1]. ``scores`` names the granularities (as their criteria score
    them) that a scope is defined for, ``needs`` what of :class:`ScopeContext` it reads besides the model; a scan and
    costs need samples, and sets of one layer each. What costs count is the scope's :attr:`resource` at :attr:`batch`.

    Raises:
        SecateurError: a bound that is no fraction, or the lower one above the upper one.
    """

    scores: ClassVar[frozenset[str]] = frozenset({"weight", "neuron"})
    needs: ClassVar[frozenset[str]] = frozenset()

    min_sparsity: float = 0.0
    max_sparsity: float = 1.0

    def __post_init__(self) -> None:
        check_bounds("every layer", self.min_sparsity, self.max_sparsity)

    @property
    def name(self) -> str:
        """How it is written: a name, or ``pkg.module:Class``."""
        return registry.name_of("scopes", type(self))

    @property
    def resource(self) -> str:
        """What costs count: ``parameters``, ``flops``, ``bytes`` or ``ms``."""
        return "parameters"

    @property
    def batch(self) -> int:
        """For how many samples at once milliseconds are measured."""
        return 1

    def competitors(self, count: int) -> list[list[int]]:
        """A partition of the layers ``0 .. count - 1``, a list for each set: every layer by itself unless a scope says
        else."""
        return [[i] for i in range(count)]

    def comparable(self, scores: list[Tensor]) -> list[Tensor]:
        """The scores as the competitors compare them; as they are unless a scope says more."""
        return scores

    def removals(self, layers: Sequence[Layer], sparsity: float, bounds: Bounds, context: ScopeContext) -> list[int]:
        """How many items of every set go: ``round(sparsity * items)`` of each unless a scope allocates.

        Args:
            layers: the layers that compete.
            sparsity: what was asked, in [0, 1).
            bounds: the least and the most that may go of each layer; a scope that allocates keeps to them.
            context: the network, and what :attr:`needs` names.
        """
        return [removal_count(sum(layers[i].items for i in members), sparsity)
                for members in self.competitors(len(layers))]

    def remarks(self, sparsity: float, counts: Sequence[int], context: ScopeContext) -> list[str]:
        """What the notes of a plan should say of these removals."""
        return []


def check_bounds(what: str, low: float | None, high: float | None) -> None:
    """Refuse bounds of a layer's sparsity that are no fractions, or contradict each other; None is no bound."""
    for name, value in (("min_sparsity", low), ("max_sparsity", high)):
        if value is not None and not (is_number(value) and 0 <= value <= 1):
            raise SecateurError(f"{name} of {what} is {value!r}: allowed is a fraction removed in [0, 1]")
    if (low or 0) > (1 if high is None else high):
        raise SecateurError(f"{what}: min_sparsity {low:g} is above max_sparsity {high:g}")


class Allocation(Scope):
    """A scope that first gives each layer a number of its own; the items of a layer compete among themselves."""

    @abstractmethod
    def removals(self, layers: Sequence[Layer], sparsity: float, bounds: Bounds, context: ScopeContext) -> list[int]:
        """How many items of every layer go."""


CONTRACT = Scope
_HALVINGS = 200
"""More than the digits of a float: the two ends of a bisection have met by then."""


def divide_by_density(layers: Sequence[Layer], sparsity: float, bounds: Bounds, low: float, high: float,
                      densities: Callable[[float], list[float]]) -> list[int]:
    """How many items of every layer go, ``round(sparsity * items)`` in all.

    Args:
        layers: those that are cut.
        sparsity: what was asked, in [0, 1).
        bounds: the least and the most that may go of each layer.
        low, high: the number that decides lies between; it is found by bisection.
        densities: from that number the fraction of each layer that stays, rising with it; bounds clip it.

    >>> import torch
    >>> layers = [Layer("a", torch.zeros(3)), Layer("b", torch.zeros(10))]
    >>> divide_by_density(layers, 4 / 13, [(0, 3), (0, 10)], 0.0, 10.0, lambda x: [x / 3, 2 * x / 10])
    [0, 4]
    """
    items = [layer.items for layer in layers]
    total = removal_count(sum(items), sparsity)
    if not total:
        return share_out([0.0] * len(layers), 0, bounds)

    def kept(number: float) -> list[float]:
        return [min(max(density * n, n - most), n - least)
                for density, n, (least, most) in zip(densities(number), items, bounds, strict=True)]

    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(kept(middle)) < sum(items) - total else (low, middle)
    return share_out([n - k for n, k in zip(items, kept(high), strict=True)], total, bounds)
