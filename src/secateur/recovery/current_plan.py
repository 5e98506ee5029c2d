"""The plan of what is zero in a network now, after a recovery that chose anew what goes."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from secateur import graph
from secateur.core.types import Cut, Plan, Target
from secateur.pruning.granularity import configure, resolve
from secateur.pruning.granularity.base import Unit


def standing(plan: Plan, network: nn.Module) -> Plan:
    """The plan itself where all that it removes is zero; else one of as many items, with those that are zero.

    Neurons that went are no zeros and stay gone.

    >>> import torch
    >>> from secateur import plan
    >>> net = nn.Linear(2, 1, bias=False)
    >>> net.weight.data = torch.tensor([[1.0, 2.0]])
    >>> made = plan(net, 0.5)
    >>> net.weight.data = torch.tensor([[3.0, 0.0]])
    >>> made.cuts[0].keep.tolist(), standing(made, net).cuts[0].keep.tolist()
    ([[False, True]], [[True, False]])
    """
    if all(cut.group is not None or holds(cut, network) for cut in plan.cuts):
        return plan
    targets = {target.name: target for target in graph.targets(network)}
    return replace(plan, cuts=tuple(cut if cut.group is not None or holds(cut, network) else
                                    read(cut, network, targets[cut.name], cut.granularity or plan.granularity)
                                    for cut in plan.cuts))


def holds(cut: Cut, network: nn.Module) -> bool:
    """Whether all that a cut removes is zero."""
    weight = network.get_parameter(cut.name).detach()
    return not bool(weight[~cut.keep.to(weight.device)].any())


def read(cut: Cut, network: nn.Module, target: Target, written: str) -> Cut:
    """A cut of as many items that are zero; of more zeros than that, those that the given cut removes go first."""
    def worth(tensor: Tensor, name: str, unit: Unit | None = None) -> Tensor:  # noqa: ARG001
        return (tensor != 0).float() + cut.keep.to(tensor.device).float() / 2

    granularity = configure(resolve(written), pooling="max")
    layer = granularity.layer(network, target, worth)
    gone = min(cut.removed, int((layer.scores < 1).sum()))
    keep = granularity.ranking([layer.scores]).take(gone)[0]
    return replace(granularity.cut(layer, keep), granularity=cut.granularity)
