"""Which items of a layer stay when they are chosen by their values: the most that a plan leaves."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from secateur import graph
from secateur.core.types import Cut, Target
from secateur.pruning.granularity import configure, resolve
from secateur.pruning.granularity.base import Granularity, Unit
from secateur.recovery.layer_io import RefitLayer
from secateur.recovery.methods.base import RecoveryContext

Pick = Callable[[Tensor], Tensor]
"""Takes the rows of a layer, ``(groups, outputs, n)``, and says which entries stay, in the same shape."""


def rechoosable(kinds: Collection[str]) -> bool:
    """Whether all items are weights or made of weights, so that others may stay in their place.

    >>> rechoosable(["weight", "4x1", "2:4"]), rechoosable(["neuron"])
    (True, False)
    """
    return all(resolve(kind).scored_as == "weight" for kind in kinds)


class Picks:
    """The choice for each layer of a network that is recovered."""

    def __init__(self, context: RecoveryContext):
        self.plan, self.network = context.plan, context.pruned
        self._targets: dict[str, Target] = {one.name: one for one in graph.targets(context.pruned)}
        self._cuts = {cut.name: cut for cut in context.plan.cuts}

    def of(self, layer: RefitLayer) -> Pick:
        """The items with the greatest sum of squares, as many as the plan leaves the layer; and every bias."""
        name = f"{layer.name}.weight" if layer.name else "weight"
        cut = self._cuts[name]
        item = configure(resolve(cut.granularity or self.plan.granularity), pooling="sum")
        support, weight = layer.support, layer.module.weight
        assert support is not None
        assert isinstance(weight, Tensor)
        columns = support.shape[1]
        if item.name == "weight":
            return lambda values: _greatest(values, int(support.sum()), columns)

        def pick(values: Tensor) -> Tensor:
            stays = torch.ones(values.shape, dtype=torch.bool, device=values.device)
            squares = values[..., :columns].reshape(weight.shape).square()
            kept = _kept(self.network, item, self._targets[name], cut, squares)
            stays[..., :columns] = kept.reshape(*values.shape[:2], columns)
            return stays

        return pick


def _kept(network: nn.Module, item: Granularity, target: Target, cut: Cut, squares: Tensor) -> Tensor:
    """What of a weight stays, in its shape."""
    def worth(tensor: Tensor, name: str, unit: Unit | None = None) -> Tensor:  # noqa: ARG001
        return squares

    layer = item.layer(network, target, worth)
    keep = item.ranking([layer.scores]).take(cut.removed)[0]
    return item.cut(layer, keep).keep.to(squares.device)


def _greatest(values: Tensor, keep: int, columns: int) -> Tensor:
    """The ``keep`` entries of greatest size in the first columns, and all others.

    >>> _greatest(torch.tensor([[[1.0, -3.0, 0.5], [2.0, 0.0, 0.1]]]), 2, 2).int().tolist()
    [[[0, 1, 1], [1, 0, 1]]]
    """
    free = torch.zeros(values.shape, dtype=torch.bool, device=values.device)
    free[..., columns:] = True
    support = free.flatten().clone()
    support[values.abs().masked_fill(free, -1).flatten().topk(keep, sorted=False).indices] = True
    return support.view(values.shape)
