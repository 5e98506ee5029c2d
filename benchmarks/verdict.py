"""Whether a network that another library cut is right: the original with the removed units masked is the reference.

A cut is right where its network gives, in float64, the outputs of the original with what was removed at zero (means,
variances and norms over what stays). A cut is wrong where it does not; where the reference itself cannot follow what
was removed, it is unchecked: other channels in each group of a grouped layer, statistics over an axis that was not cut
by whole units, tied weights of which each use was cut in its own way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

RIGHT = 1e-5
Rows = dict[tuple[str, int], Tensor]


def judged(model: nn.Module, small: nn.Module, trace: Any) -> dict[str, Any]:
    """The verdict on a cut: right, wrong, shape (outputs of another shape) or unchecked, with the reason."""
    from secateur.graph.proof import float64, oracles

    if not hasattr(trace, "graphs"):
        return {"verdict": "unchecked", "why": "torch.export does not take the network"}
    captured = trace.first
    want, whole, blind = masked(model, small, trace)
    got = float64.eager_outputs(small.double(), captured.args, captured.kwargs)
    if [g.shape for g in got] != [w.shape for w in want]:
        return {"verdict": "shape", "why": f"{[list(g.shape) for g in got]} for {[list(w.shape) for w in want]}"[:200]}
    error = oracles.distance(got, want)
    found = {"error_of_outputs": min(error, 1e9), "whole_units": whole}
    if error < RIGHT:
        return found | {"verdict": "right"}
    why = "tied weights cut apart" if untied(model, small, trace) else "" if whole else (
        "channels in groups" if grouped(trace) else "statistics over parts of units" if blind else "")
    return found | ({"verdict": "unchecked", "why": why} if why else {"verdict": "wrong"})


def grouped(trace: Any) -> bool:
    """Whether a network has channels in groups, of which other ones may be kept in each."""
    return any("groups" in found for found in trace.flow.notes.values())


def masked(model: nn.Module, small: nn.Module, trace: Any) -> tuple[list[Tensor], bool, bool]:
    """The outputs of the original with zeros where a peer removed something, statistics over what stays; whether
    it removed whole units; and whether a statistic is taken over parts of units, which the reference cannot follow."""
    from secateur.graph.proof import float64, reference
    from secateur.graph.proof import masked as blanked

    rows = kept_rows(model, small, trace.flow.stored)
    keeps, broken = kept_units(rows, trace)
    stored_axes, axes = trace.flow.stored, trace.flow.axes
    whole = all(torch.equal(axes.mask(stored_axes[n].axes[a], keeps), kept) for (n, a), kept in rows.items())
    blank = blanked.MaskedCalls(trace.flow, keeps, lambda _, t: float64.double(t))

    def stored(name: str, tensor: Tensor) -> Tensor:
        value = blank.stored(name, tensor).clone()
        for axis in range(value.ndim):
            if (name, axis) in rows:
                value.index_fill_(axis, (~rows[name, axis]).nonzero().flatten(), 0)
        return value

    want = reference.run(model, trace.first, trace.flow, stored, blank.call)
    return want, whole, bool(broken) and statistic(trace, broken)


def untied(model: nn.Module, small: nn.Module, trace: Any) -> bool:
    """Whether tensors that were one have kept different rows."""
    first = trace.flow.names
    rows = kept_rows(model, small, first)
    other = {(name, axis): rows.get((first[name], axis)) for name, axis in rows if first[name] != name}
    return any(kept is None or not torch.equal(kept, rows[place]) for place, kept in other.items())


def kept_rows(model: nn.Module, small: nn.Module, names: Iterable[str]) -> Rows:
    """What was kept along every axis of some parameters, found by its values."""
    after, found = dict(small.named_parameters(remove_duplicate=False)), {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        if name in after and name in names and after[name].shape != tensor.shape:
            there = torch.isin(tensor.detach(), after[name].detach())
            for axis in range(tensor.ndim):
                if after[name].shape[axis] != tensor.shape[axis]:
                    share = there.movedim(axis, 0).reshape(tensor.shape[axis], -1).float().mean(1)
                    found[name, axis] = share > share.max() / 2
    return found


def kept_units(rows: Rows, trace: Any) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """What was kept of every leaf whose tensors were cut by whole units, and of those that were cut in parts."""
    from secateur.core.types import Member
    from secateur.graph.groups import leaves

    axes, keeps = trace.flow.axes, {}
    for leaf, slices in leaves(trace.flow).items():
        for name, axis, place in slices:
            if (name, axis) in rows:
                size = axes.sizes[leaf]
                at = Member(name, axis, "", size, place.offset, place.loops, place.inner).positions()
                keep = rows[name, axis][at].any(1)
                keeps[leaf] = keeps.get(leaf, torch.ones(size, dtype=torch.bool)) & keep
    keeps = {leaf: keep for leaf, keep in keeps.items() if not keep.all()}
    broken = {}
    for leaf in [*keeps]:
        places = [(n, a) for n, a, _ in leaves(trace.flow)[leaf] if (n, a) in rows]
        if any(not torch.equal(axes.mask(trace.flow.stored[n].axes[a], keeps), rows[n, a]) for n, a in places):
            broken[leaf] = keeps.pop(leaf)
    return keeps, broken


def statistic(trace: Any, broken: dict[int, Tensor]) -> bool:
    """Whether a mean, a norm, an extreme or a softmax is taken over an axis on which one of these leaves lies."""
    from secateur.graph.calls import base_name
    from secateur.graph.proof.masked import SPECIAL
    from secateur.graph.rules.base import TensorAxes

    flow = trace.flow
    for node in trace.first.nodes:
        name = base_name(node).rstrip("_") if node.op == "call_function" else ""
        if name in SPECIAL:
            value = next(v for n in node.all_input_nodes if isinstance(v := flow.values.get(n), TensorAxes))
            if any(flow.axes.contains_any(value.axes[dim], broken) for dim in reduced(node, name, len(value.axes))):
                return True
    return False


def reduced(node: Any, name: str, ndim: int) -> Iterator[int]:
    """The axes over which an operator takes its statistic."""
    from secateur.graph.calls import arguments_of

    given = arguments_of(node)
    if name in ("layer_norm", "rms_norm"):
        yield from range(ndim - len(given["normalized_shape"]), ndim)
    elif name == "group_norm":
        yield 1
    elif "norm" not in name:
        dims = given.get("dim")
        dims = [dims] if isinstance(dims, int) else dims
        yield from (d % ndim for d in dims or range(ndim))
