"""The plan of what is zero in a network now, after a recovery that chose anew what goes."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from secateur import graph
from secateur.core.types import Cut, Plan, Target
from secateur.pruning.granularity import configure, resolve
from secateur.pruning.granularity.base import Unit


def current_plan(plan: Plan, network: nn.Module) -> Plan:
    """The plan itself where all that it removes is zero; else a plan that removes as many items, those that are zero.

    Cuts of neurons stay as they are: nothing of them is left that could be read.

    >>> import torch
    >>> from secateur import plan
    >>> net = nn.Linear(2, 1, bias=False)
    >>> net.weight.data = torch.tensor([[1.0, 2.0]])
    >>> made = plan(net, 0.5, skip=())
    >>> net.weight.data = torch.tensor([[3.0, 0.0]])
    >>> made.cuts[0].keep.tolist(), current_plan(made, net).cuts[0].keep.tolist()
    ([[False, True]], [[True, False]])
    """
    if all(cut.group is not None or _is_zero(cut, network) for cut in plan.cuts):
        return plan
    targets = {target.name: target for target in graph.targets(network)}
    return replace(plan, cuts=tuple(cut if cut.group is not None or _is_zero(cut, network) else
                                    _cut_of_zeros(cut, network, targets[cut.name], cut.granularity or plan.granularity)
                                    for cut in plan.cuts))


def _is_zero(cut: Cut, network: nn.Module) -> bool:
    """Whether all that a cut removes is zero."""
    weight = network.get_parameter(cut.name).detach()
    return not bool(weight[~cut.keep.to(weight.device)].any())


def _cut_of_zeros(cut: Cut, network: nn.Module, target: Target, written: str) -> Cut:
    """A cut that removes as many items, of those that are zero; items that the given cut removes go first."""
    def worth(tensor: Tensor, name: str, unit: Unit | None = None) -> Tensor:  # noqa: ARG001
        return (tensor != 0).float() + cut.keep.to(tensor.device).float() / 2

    granularity = configure(resolve(written), pooling="max")
    layer = granularity.layer(network, target, worth)
    gone = min(cut.removed, int((layer.scores < 1).sum()))
    keep = granularity.ranking([layer.scores]).take(gone)[0]
    return replace(granularity.cut(layer, keep), granularity=cut.granularity)
