"""Networks that ``torch.export`` does not take as a whole: the largest parts that it takes, each on its own.

A part is a module with the inputs that it is given while the example runs. What goes into it and what
comes out stays; inside, units are found, cut and proved as in a network of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from secateur.core.errors import UnsupportedError, readable
from secateur.core.module_state import evaluating
from secateur.core.types import Cut, Group, Structure
from secateur.graph.analysis import analyse
from secateur.graph.capture import FlatGraph, capture_as_it_is
from secateur.graph.cut import cut as attempts
from secateur.graph.example import inputs
from secateur.graph.flow import tied_names
from secateur.graph.proof import reference
from secateur.graph.proof.dead_units import with_unfelt
from secateur.graph.proof.float64 import double, eager_outputs
from secateur.graph.proof.masked import MaskedCalls
from secateur.graph.proof.oracles import LIMIT, distance, prove_groups
from secateur.graph.targets import targets

# How many modules are exported at most: each export takes seconds, and a network may have thousands of modules.
_MOST_TRIED = 60


@dataclass(eq=False)
class Parts:
    """The traced parts of a network by path, with the example that the whole runs on."""

    structures: dict[str, Structure]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    proved: bool = False


def calls(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What each module is called with first, while the example runs."""
    inputs_of: dict[str, tuple[Any, Any]] = {}

    def note(name: str) -> Any:
        def hook(_: nn.Module, args: Any, kwargs: Any) -> None:
            own = pytree.tree_map(lambda v: v.clone() if isinstance(v, Tensor) else v, (args, kwargs))
            inputs_of.setdefault(name, own)
        return hook

    hooks = [m.register_forward_pre_hook(note(n), with_kwargs=True) for n, m in model.named_modules() if n]
    try:
        with evaluating(model), torch.no_grad():
            model(*copy.deepcopy(args), **copy.deepcopy(kwargs))
    finally:
        for hook in hooks:
            hook.remove()
    return inputs_of


def trace_parts(model: nn.Module, example: Any, inner: bool, why: UnsupportedError) -> Structure:
    """The structure of a network whose parts are traced one by one.

    Raises:
        UnsupportedError: where no part has units to cut, with what ``why`` says.
    """
    args, kwargs = inputs(example)
    inputs_of = calls(model, args, kwargs)
    tied = {name for names in tied_names(model) for name in names}
    parts = dict(_exportable(model, "", inputs_of, inner, [_MOST_TRIED]))
    groups = [_rename_group(path, g, tied) for path, s in parts.items() for g in s.groups]
    if not any(g.cuttable for g in groups):
        raise UnsupportedError(f"{why}; no module inside it that can be traced alone has units to remove") from why
    reason = (f"{str(why).partition('; try')[0]}; traced in parts, whose inputs and outputs stay whole: "
              f"{', '.join(parts)}")
    return Structure(targets(model), tuple(groups), (), Parts(parts, args, kwargs), example, notes=(reason,))


def _exportable(model: nn.Module, path: str, inputs_of: dict[str, tuple[Any, Any]], inner: bool,
                tries: list[int]) -> Iterator[tuple[str, Structure]]:
    """The outermost modules inside a module that can be exported, with their structures."""
    for name, child in model.named_children():
        inside = f"{path}.{name}".lstrip(".")
        graph = _try_export(child, *inputs_of[inside], tries) if inside in inputs_of else None
        if graph is None:
            yield from _exportable(child, inside, inputs_of, inner, tries)
        else:
            yield inside, with_unfelt(child, analyse(child, [graph], inner))


def _try_export(module: nn.Module, args: Any, kwargs: Any, tries: list[int]) -> FlatGraph | None:
    """A module exported, if it has parts of its own and can be."""
    if not any(True for _ in module.children()) or tries[0] <= 0:
        return None
    tries[0] -= 1
    try:
        with evaluating(module):
            return capture_as_it_is(module, args, kwargs)
    except UnsupportedError:
        return None


def _rename_group(path: str, group: Group, tied: set[str]) -> Group:
    """A part's group under the names of the whole network; one whose tensors lie elsewhere too stays."""
    members = tuple(replace(m, tensor=f"{path}.{m.tensor}") for m in group.members)
    other = next((m.tensor for m in members if m.tensor in tied), None)
    why = group.reason or (f"'{other}' lies in several places of a network that is traced in parts" if other else "")
    return replace(group, name=f"{path}.{group.name}", members=members, reason=why)


def cut_parts(model: nn.Module, cuts: Sequence[Cut], parts: Parts) -> attempts.Removal:
    """Cut and prove every part, then the whole: it must give what it gives with its parts masked.

    Raises:
        UnsupportedError: a part or the whole is not proved.
    """
    smaller: dict[int, Any] = {}
    stand_ins: dict[int, Any] = {}
    notes: list[str] = []
    for path, structure in parts.structures.items():
        some = [_cut_of_part(path, cut, structure) for cut in cuts if cut.name.startswith(f"{path}.")]
        if some:
            part = model.get_submodule(path)
            if not parts.proved:
                prove_groups(part, structure.trace, structure.groups)
            removal = attempts.cut_and_prove(part, some, structure.trace)
            smaller[id(part)] = removal.network
            stand_ins[id(part)] = _MaskedPart(part, structure, some)
            notes += [f"{path}.{note}" if " -> " in note else f"{path}: {note}" for note in removal.notes]
    small = copy.deepcopy(model, dict(smaller))
    _prove_whole(small, copy.deepcopy(model, stand_ins), parts)
    parts.proved = True
    return attempts.Removal(small, tuple(notes))


def _prove_whole(small: nn.Module, masked: nn.Module, parts: Parts) -> None:
    """Compare a network of cut parts with the same network of masked ones.

    Raises:
        UnsupportedError: they differ, or one does not run: the code around the parts depends on their internals.
    """
    claim = f"the cut of {type(small).__name__} in parts is not proved"
    try:
        error = distance(_whole_outputs(small, parts), _whole_outputs(masked, parts))
    except Exception as failure:
        raise UnsupportedError(f"{claim}: {readable(failure)}; the code around the parts depends on their "
                               "internals") from failure
    if not error <= LIMIT:
        raise UnsupportedError(f"{claim}: the outputs differ by {error:.1e} (relative), allowed {LIMIT:g}")


def _whole_outputs(model: nn.Module, parts: Parts) -> list[Tensor]:
    """The outputs of a network in float64; its weights are those of a copy that is thrown away."""
    return eager_outputs(copy.deepcopy(model).double(), parts.args, parts.kwargs)


def _cut_of_part(path: str, cut: Cut, structure: Structure) -> Cut:
    """A cut under the names of its part."""
    name = cut.name[len(path) + 1:]
    return Cut(name, cut.keep, next(g for g in structure.groups if g.name == name))


class _MaskedPart(nn.Module):
    """A part that runs its traced graph with the removed units masked."""

    def __init__(self, part: nn.Module, structure: Structure, cuts: Sequence[Cut]):
        super().__init__()
        self.setting = (part, structure, cuts)

    def __deepcopy__(self, memo: dict[int, Any]) -> _MaskedPart:
        return _MaskedPart(*self.setting)

    def __getattr__(self, name: str) -> Any:
        """What the code around it reads of the part itself: the comparison of the whole tells whether that matters."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "setting" not in self.__dict__:
                raise
            return getattr(self.setting[0], name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the cut part must give."""
        part, structure, cuts = self.setting
        trace = structure.trace
        masked = MaskedCalls(trace.flow, attempts.keeps_of(cuts, trace), lambda _, t: double(t))
        graph = replace(trace.first, args=args, kwargs=kwargs)
        outputs = reference.everything(part, graph, trace.flow, masked.stored, masked.call)
        return pytree.tree_unflatten(outputs, graph.out_spec)
