"""From the cuts of a plan to one mask a parameter, and from masks to weights that stay zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, distributed, nn

from secateur.core.modules import device_of
from secateur.core.types import Cut, Plan
from secateur.graph import surgery

Masks = dict[str, Tensor]


def masks_of(model: nn.Module, cuts: Iterable[Cut]) -> Masks:
    """What is kept of each parameter that the cuts touch: bool, in its shape, on its device.

    A neuron that goes takes along all that the network ties to it: the weights that make it, its bias and
    norm, and the weights that read it.

    >>> masks_of(nn.Linear(2, 1), [Cut("weight", torch.tensor([[True, False]]))])["weight"].tolist()
    [[True, False]]
    """
    cuts = list(cuts)
    found = {c.name: c.keep.to(model.get_parameter(c.name).device) for c in cuts if c.group is None}
    units = surgery.masks(model, [c for c in cuts if c.group is not None])
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, axes in units.items():
        if name in parameters:
            found[name] = _mask_from_axes(parameters[name], axes)
    return found


def _mask_from_axes(parameter: Tensor, axes: Mapping[int, Tensor]) -> Tensor:
    """The mask of a whole tensor from those of its axes.

    >>> _mask_from_axes(torch.zeros(2, 2), {0: torch.tensor([True, False])}).tolist()
    [[True, True], [False, False]]
    """
    keep = torch.ones(parameter.shape, dtype=torch.bool, device=parameter.device)
    for axis, kept in axes.items():
        shape = [-1 if i == axis else 1 for i in range(parameter.ndim)]
        keep &= kept.to(parameter.device).view(shape)
    return keep


@torch.no_grad()
def zero(model: nn.Module, cut: Masks) -> None:
    """Set to zero, in place, what the masks mark as cut."""
    for name, gone in cut.items():
        model.get_parameter(name).masked_fill_(gone, 0)


@torch.no_grad()
def forget(optimizer: torch.optim.Optimizer, model: nn.Module, marked: Masks) -> None:
    """Set the optimizer's state (momentum, moments) to zero where weights are marked."""
    for name, weights in marked.items():
        weight = model.get_parameter(name)
        for value in optimizer.state.get(weight, {}).values():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                value.masked_fill_(weights, 0)


def broadcast_plan(plan: Plan, model: nn.Module) -> Plan:
    """The plan of rank 0, on every rank; where one process trains alone, the plan itself."""
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return plan
    cuts = []
    for cut in plan.cuts:
        # uint8 on the network's device, because backends such as NCCL send neither bools nor tensors of the CPU
        sent = cut.keep.to(device=device_of(model), dtype=torch.uint8).contiguous()
        distributed.broadcast(sent, 0)
        cuts.append(replace(cut, keep=sent.bool().to(cut.keep.device)))
    return replace(plan, cuts=tuple(cuts))
