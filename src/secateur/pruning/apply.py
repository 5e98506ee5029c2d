"""A model and a plan in, a new model out: weights zeroed, or neurons physically removed."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from secateur import graph
from secateur.core.errors import CutGraphWarning, SecateurError, caller_level
from secateur.core.module_state import evaluating, untouched
from secateur.core.modules import keep_marks, parameter_shapes
from secateur.core.types import Plan, Structure
from secateur.graph.check import check_module
from secateur.graph.cut.graph_module import ExportedNetwork
from secateur.pruning.history import remember, step, steps


def apply(model: nn.Module, plan: Plan, prove: bool = True, example: Any = None) -> nn.Module:
    """Carry out a plan on a copy of the model; the model passed in is never changed.

    Args:
        model: the network that the plan was made for.
        plan: what goes.
        prove: for neurons, check the grouping and the small network against the original in float64
            and return nothing that fails.
        example: one input; needed for the proof of a plan that was saved or sent, which has lost its graph.

    Warns:
        CutGraphWarning: the cut graph comes back in place of the network's class, with the reason.

    Raises:
        SecateurError: the plan was made for a network of other shapes, or cannot be proved for want of an example.
        UnsupportedError: the cut network is not proved.
    """
    removal = carry_out(model, plan, prove, example)
    if _holds_graph(removal.network) and not _holds_graph(model):
        warnings.warn("; ".join(removal.notes), CutGraphWarning, stacklevel=caller_level())
    return removal.network


def _holds_graph(network: nn.Module) -> bool:
    """Whether a network, or a part of it, is a cut graph in place of its class."""
    return any(isinstance(module, ExportedNetwork) for module in network.modules())


def carry_out(model: nn.Module, plan: Plan, prove: bool = True, example: Any = None) -> graph.Removal:
    """As :func:`apply`; the notes come with the network in place of a warning."""
    check_plan("apply", model, plan)
    with untouched(model):
        return _cut_copy(model, plan, prove, example)


def check_plan(call: str, model: Any, plan: Any) -> None:
    """Refuse what is no network, or no plan."""
    check_module(call, model)
    if not isinstance(plan, Plan):
        raise SecateurError(f"{call}: got {type(plan).__name__} as plan, allowed: a plan from secateur.plan")


def _cut_copy(model: nn.Module, plan: Plan, prove: bool, example: Any) -> graph.Removal:
    """A copy of a network with a plan carried out; running the network may leave traces in it."""
    if any(cut.group for cut in plan.cuts):
        with evaluating(model):
            graph.check_whole(model)
    check_fits(model, plan)
    cuts = [cut for cut in plan.cuts if cut.removed]
    if any(cut.group for cut in cuts):
        structure = _trace_of(model, plan, example) if prove else plan.structure
        removal = graph.remove(model, cuts, structure, prove)
        shown = example if structure is None else structure.example
        remember(keep_marks(model, removal.network), (*steps(model), step(model, cuts, shown, prove)))
        return removal
    return graph.Removal(keep_marks(model, _zeroed_copy(model, {cut.name: cut.keep for cut in cuts})))


def _trace_of(model: nn.Module, plan: Plan, example: Any) -> Structure:
    """The structure that a plan was made from, traced again where it came without its graph.

    Raises:
        SecateurError: there is neither graph nor example.
    """
    structure = plan.structure
    if structure is not None and structure.trace is not None:
        return structure
    if example is None and (structure is None or structure.example is None):
        raise SecateurError("the plan no longer holds its graph (it was saved or pickled): pass example= so that the "
                            "cut can be proved, or prove=False; got neither")
    return graph.trace(model, example if example is not None or structure is None else structure.example)


def _zeroed_copy(model: nn.Module, keep: dict[str, Tensor]) -> nn.Module:
    """A copy whose named parameters are zero where ``keep`` is false; those are written once, not copied first, and
    lie in memory as they did."""
    made: dict[int, Any] = {}
    for name, mask in keep.items():
        whole = model.get_parameter(name)
        cut = torch.empty_like(whole, requires_grad=False)
        torch.where(mask.to(whole.device), whole.detach(), whole.new_zeros(()), out=cut)
        made[id(whole)] = nn.Parameter(cut, requires_grad=whole.requires_grad)
    return copy.deepcopy(model, made)


def check_fits(model: nn.Module, plan: Plan) -> None:
    """Refuse a plan for another network, naming the tensors that differ."""
    shapes = parameter_shapes(model)
    if shapes != plan.shapes:
        differ = sorted(n for n in shapes.keys() | plan.shapes.keys() if shapes.get(n) != plan.shapes.get(n))
        raise SecateurError(f"the plan was made for another network: {len(differ)} parameters differ, first "
                            f"'{differ[0]}': plan {plan.shapes.get(differ[0])}, network {shapes.get(differ[0])}")
