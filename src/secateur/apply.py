"""A model and a plan in, a new model out: weights zeroed, or neurons physically removed."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from secateur import graph
from secateur.errors import SecateurError
from secateur.types import Plan


def apply(model: nn.Module, plan: Plan) -> nn.Module:
    """Carry out a plan on a copy; the model passed in is never changed.

    Raises:
        SecateurError: the plan was made for a network of other shapes.
    """
    check_fits(model, plan)
    cuts = [cut for cut in plan.cuts if cut.removed]
    if any(cut.group for cut in cuts):
        return graph.remove(model, cuts)
    return zeroed_copy(model, {cut.name: cut.keep for cut in cuts})


def zeroed_copy(model: nn.Module, keep: dict[str, Tensor]) -> nn.Module:
    """A copy whose named parameters are zero where ``keep`` is false; those are written once, not copied first."""
    made: dict[int, Any] = {}
    for name, mask in keep.items():
        whole = model.get_parameter(name)
        made[id(whole)] = nn.Parameter(torch.where(mask, whole.detach(), 0), requires_grad=whole.requires_grad)
    return copy.deepcopy(model, made)


def check_fits(model: nn.Module, plan: Plan) -> None:
    """Refuse a plan for another network, naming the tensors that differ."""
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
    if shapes != plan.shapes:
        differ = sorted(n for n in shapes.keys() | plan.shapes.keys() if shapes.get(n) != plan.shapes.get(n))
        raise SecateurError(f"the plan was made for another network: {len(differ)} parameters differ, first "
                            f"'{differ[0]}': plan {plan.shapes.get(differ[0])}, network {shapes.get(differ[0])}")
