"""The plan that a network's zeros stand for, where none was kept."""

from __future__ import annotations

from torch import nn

from secateur import graph
from secateur.core.errors import SecateurError
from secateur.core.types import Cut, Plan


def plan_of_zeros(network: nn.Module) -> Plan:
    """A plan that removes every weight of a layer that is zero.

    Raises:
        SecateurError: no weight is zero.

    >>> import torch
    >>> net = nn.Linear(4, 1, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[1.0, 0.0, 0.0, 2.0]]))
    >>> made = plan_of_zeros(net)
    >>> made.sparsity, made.cuts[0].keep.tolist()
    (0.5, [[True, False, False, True]])
    """
    targets = graph.targets(network)
    keeps = {target.name: network.get_parameter(target.name).detach() != 0 for target in targets}
    cuts = tuple(Cut(name, keep) for name, keep in keeps.items() if not bool(keep.all()))
    if not cuts:
        raise SecateurError(f"recover: none of the {len(targets)} layers' weights is zero; allowed is a network with "
                            "zeroed weights, or plan= for one that has fewer neurons")
    items, removed = sum(cut.keep.numel() for cut in cuts), sum(int((~cut.keep).sum()) for cut in cuts)
    return Plan("weight", "given", "layer", removed / items, cuts, {})
