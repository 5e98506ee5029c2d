"""Choosing while learning: a network that kept too much loses its weakest items step by step while it is trained."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from secateur import graph
from secateur.core.types import Cut, Plan, Target
from secateur.pruning.granularity import resolve
from secateur.pruning.granularity.base import Granularity, Layer, Unit
from secateur.pruning.granularity.n_m import NM

_DENSER = 5
"""What is thinned begins with so many times the items that are to stay: with fewer there is little to choose from, with
all of them the steps until the end are too few."""
_UNTIL = 0.6
"""The part of the steps in which items go; then what is left only learns."""
_CHOICES = 24
"""So many times items go."""


def thins(kinds: frozenset[str]) -> bool:
    """Whether what is cut can be thinned: single weights and blocks, but not N:M, whose groups lose as many each."""
    return all(item.scored_as == "weight" and not isinstance(item, NM) for item in map(resolve, kinds))


def _size(tensor: Tensor, name: str, unit: Unit | None = None) -> Tensor:  # noqa: ARG001
    """The criterion: the size of a weight."""
    return tensor.abs()


class _Places:
    """The layers of a network as the cuts of a plan see them."""

    def __init__(self, network: nn.Module, plan: Plan):
        self.network, self.plan = network, plan
        self._targets: dict[str, Target] = {target.name: target for target in graph.targets(network)}

    def layer(self, cut: Cut) -> tuple[Granularity, Layer]:
        """The items of a cut, scored by the network's weights of now."""
        item = resolve(cut.granularity or self.plan.granularity)
        return item, item.layer(self.network, self._targets[cut.name], _size)

    def cut(self, cut: Cut, removed: int) -> Cut:
        """A cut of the same tensor that removes so many items, the weakest."""
        item, layer = self.layer(cut)
        keep = item.ranking([layer.scores]).take(removed)[0]
        return replace(item.cut(layer, keep), granularity=cut.granularity)


def denser_plan(network: nn.Module, plan: Plan) -> Plan:
    """A plan by magnitude that keeps five times as many items of every layer, or all.

    >>> from secateur import plan
    >>> net = nn.Linear(10, 10)
    >>> made = plan(net, 0.95, skip=())
    >>> denser_plan(net, made).cuts[0].removed
    75
    """
    places = _Places(network, plan)
    return replace(plan, cuts=tuple(
        places.cut(cut, max(0, cut.items - _DENSER * (cut.items - cut.removed))) for cut in plan.cuts))


class Thinning:
    """Which weights are to go next while a network learns, until as many items are gone as a plan says.

    The number of items falls along a cubic (Zhu and Gupta, *To prune, or not to prune*, 2017).

    Args:
        network: what learns; it has more items left than the plan leaves.
        plan: how many items of each layer go, not which.
        steps: how many steps will be taken.
    """

    def __init__(self, network: nn.Module, plan: Plan, steps: int):
        self._places, self.last = _Places(network, plan), int(_UNTIL * steps)
        self._every = max(1, self.last // _CHOICES)
        self._first = {cut.name: self._gone(cut) for cut in plan.cuts}

    def _gone(self, cut: Cut) -> int:
        return int((self._places.layer(cut)[1].scores == 0).sum())

    def masks(self, taken: int) -> dict[str, Tensor]:
        """What stays of each cut tensor after so many steps, bool in its shape; empty where nothing is due."""
        if taken > self.last or (taken % self._every and taken != self.last):
            return {}
        left = (1 - taken / self.last) ** 3
        found = dict[str, Tensor]()
        for cut in self._places.plan.cuts:
            first = self._first[cut.name]
            removed = cut.removed + round((first - cut.removed) * left)
            found[cut.name] = self._places.cut(cut, removed).keep
        return found

    def is_done(self, taken: int) -> bool:
        """Whether what is to go is gone."""
        return taken >= self.last
