"""From axes to groups: every free leaf with the slices of stored tensors that go together."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Container, Iterable
from dataclasses import replace
from math import prod

from torch import nn

from secateur.core.types import Group, Member
from secateur.graph.calls import source_of
from secateur.graph.dims import Place
from secateur.graph.flow import Flow
from secateur.graph.reach import leaves_read

_Slices = list[tuple[str, int, Place]]


def leaves(flow: Flow) -> dict[int, _Slices]:
    """Every leaf that lies in a stored tensor, in the order of use, with where it lies."""
    slices: dict[int, _Slices] = defaultdict(list)
    order = [*flow.first_use, *(n for n in flow.stored if n not in flow.first_use)]
    for name in order:
        for axis, node in enumerate(flow.stored[name].axes):
            for place in flow.axes.places(node):
                slices[place.leaf].append((name, axis, place))
    return slices


def find_groups(model: nn.Module, flow: Flow, inner: bool = False) -> tuple[list[Group], dict[str, int]]:
    """The groups of a network in the order of its graph, and the leaf that each one is.

    Args:
        model: the network that was traced.
        flow: what the rules found.
        inner: also cut the inner one of two free factors of one axis (a head's size beside the heads).
    """
    groups: list[Group] = []
    leaf_of: dict[str, int] = {}
    slices_of, read = leaves(flow), leaves_read(flow)
    ranks = {name: p.ndim for name, p in model.named_parameters(remove_duplicate=False)}
    rivals = {} if inner else _inner_leaves(flow, slices_of)
    # Free leaves come first: of several groups of one module, one that can be cut gets the name without a number.
    for leaf, slices in sorted(slices_of.items(), key=lambda item: item[0] in flow.axes.fixed):
        members = tuple(_member(flow, *one) for one in slices)
        if leaf in flow.axes.fixed and not any(m.role == "out" for m in members):
            continue
        if not any(m.tensor in ranks for m in members):
            continue
        members = _with_producer(members, ranks)
        name = _unique(_producer(members), leaf_of)
        reason = flow.axes.fixed.get(leaf, "" if leaf in read else _why_unread(flow, members))
        if not reason and leaf in rivals:
            reason = f"it lies inside {_leaf_name(leaf_of, rivals[leaf])}, which is cut instead (trace with inner=True)"
        unit = "expert" if leaf in flow.experts else _unit_of(model, members)
        use = flow.first_use.get(members[0].tensor)
        groups.append(Group(name, unit, flow.axes.sizes[leaf], members, reason, source_of(use) if use else "",
                            _count_parameters(flow, members, ranks)))
        leaf_of[name] = leaf
    order = {leaf: i for i, leaf in enumerate(slices_of)}
    return sorted(groups, key=lambda g: order[leaf_of[g.name]]), leaf_of


def _why_unread(flow: Flow, members: Iterable[Member]) -> str:
    if any(m.tensor in flow.first_use for m in members):
        return "positions that this example does not reach; a longer input may"
    return "it is not used for this example, in evaluation mode"


def _count_parameters(flow: Flow, members: Iterable[Member], ranks: dict[str, int]) -> int:
    """How many learned numbers lie in the positions of a group; a tensor cut along two axes counts once."""
    total = 0
    for name in dict.fromkeys(m.tensor for m in members if m.tensor in ranks):
        shape, rest = flow.stored[name].shape, 1.0
        for axis, size in enumerate(shape):
            count = sum(m.units * m.inner * prod(c for c, _ in m.loops)
                        for m in members if (m.tensor, m.axis) == (name, axis))
            rest *= 1 - min(count, size) / max(size, 1)
        total += round(prod(shape) * (1 - rest))
    return total


def _leaf_name(leaf_of: dict[str, int], leaf: int) -> str:
    """The name of the group of a leaf."""
    return next((f"'{name}'" for name, other in leaf_of.items() if other == leaf), "another group")


def _inner_leaves(flow: Flow, slices_of: dict[int, _Slices]) -> dict[int, int]:
    """Free leaves that share a product with another free leaf, each with the one that is cut instead.

    The outer one is cut, heads rather than lanes, but the channels of grouped convolutions rather than fewer groups.
    """
    outside, partners = _shared_products(flow, slices_of)
    winners: set[int] = set()
    inner: dict[int, int] = {}
    groups = {flow.axes.find(leaf) for notes in flow.notes.values() for leaf in notes.values()}
    few = {g for g in groups if any(flow.axes.sizes[p] > flow.axes.sizes[g] for p in partners[g])}
    free = (leaf for leaf in slices_of if leaf not in flow.axes.fixed)
    copies = {f for f, slices in slices_of.items() if not any(flow.roles.get((n, a)) == "out" for n, a, _ in slices)}
    for leaf in sorted(free, key=lambda f: (f in few, f in copies, len(outside[f] - few))):
        rival = next((p for p in partners[leaf] if p in winners), None)
        if rival is None:
            winners.add(leaf)
        else:
            inner[leaf] = rival
    return inner


def _shared_products(flow: Flow, slices_of: dict[int, _Slices]) -> tuple[dict[int, set[int]], dict[int, list[int]]]:
    """For each free leaf, those that lie outside of it in a product, and all that share one with it."""
    outside: dict[int, set[int]] = defaultdict(set)
    partners: dict[int, list[int]] = defaultdict(list)
    for name, axis in dict.fromkeys((name, axis) for slices in slices_of.values() for name, axis, _ in slices):
        for a, b in _factor_pairs(flow, flow.stored[name].axes[axis]):
            if a != b and not {a, b} & flow.axes.fixed.keys():
                outside[b].add(a)
                partners[a].append(b)
                partners[b].append(a)
    return outside, partners


def _factor_pairs(flow: Flow, node: int) -> Iterable[tuple[int, int]]:
    """Pairs of leaves from different factors of one product, the outer one first."""
    factors = flow.axes.factors(node)
    for outer, inner in itertools.combinations([flow.axes.leaves(f) for f in factors], 2):
        yield from itertools.product(outer, inner)
    for factor in factors:
        if len(segments := flow.axes.segments(factor)) > 1:
            for segment in segments:
                yield from _factor_pairs(flow, segment)


def _member(flow: Flow, name: str, axis: int, place: Place) -> Member:
    """The slice of one tensor that goes with a leaf."""
    role = flow.roles.get((name, axis), "along")
    return Member(name, axis, role, flow.axes.sizes[place.leaf], place.offset, place.loops, place.inner)


def _with_producer(members: tuple[Member, ...], ranks: dict[str, int]) -> tuple[Member, ...]:
    """Name a producer where no rule did: the parameter of the most axes among those that only go along."""
    if any(m.role == "out" and m.tensor in ranks for m in members):
        return members
    parameters = [m for m in members if m.tensor in ranks]
    first = max([m for m in parameters if m.role == "along"] or parameters, key=lambda m: ranks[m.tensor])
    return tuple(replace(m, role="out") if m is first else m for m in members)


def _producer(members: Iterable[Member]) -> str:
    """The module that produces a group, or the tensor where it belongs to the network itself."""
    tensor = next(m.tensor for m in members if m.role == "out")
    module = tensor.split(".parametrizations.")[0] if ".parametrizations." in tensor else tensor.rpartition(".")[0]
    return module or tensor


def _unique(name: str, others: Container[str]) -> str:
    """The name, numbered where another group has it."""
    numbered = (f"{name}:{number}" for number in itertools.count(2))
    return next(candidate for candidate in itertools.chain([name], numbered) if candidate not in others)


def _unit_of(model: nn.Module, members: Iterable[Member]) -> str:
    """The word for one unit of a group."""
    makers = [m for m in members if m.role == "out"]
    modules = [model.get_submodule(m.tensor.rpartition(".")[0].split(".parametrizations")[0]) for m in makers]
    if any(isinstance(m, nn.modules.conv._ConvNd) for m in modules):
        return "group" if makers[0].inner > 1 else "channel"
    if any(isinstance(m, nn.RNNBase | nn.RNNCellBase) for m in modules):
        return "unit"
    widths = {m.inner for m in makers}
    if max(widths) > 1:
        return "kv-group" if len(widths) > 1 and min(widths) > 1 else "head"
    return "lane" if all(m.loops for m in makers) else "neuron"


def find_output_layers(flow: Flow) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The modules that alone make the last axis that any layer makes of an output; notes where several make it."""
    alone: list[str] = []
    notes: list[str] = []
    for value in flow.outputs:
        axes = [makers for axis in value.axes if any(makers := _makers(flow, axis))]
        for modules in axes[-1] if axes else ():
            if len(modules) == 1:
                alone += modules
            elif modules:
                notes.append(f"an output is the sum of the outputs of {', '.join(modules)}: none of them counts as an "
                             "output layer, so none is kept whole")
    return tuple(dict.fromkeys(alone)), tuple(dict.fromkeys(notes))


def _makers(flow: Flow, axis: int) -> list[list[str]]:
    """The modules that produce each part of an axis."""
    producers = _producers(flow)
    return [list(dict.fromkeys(module for module, leaves in producers if place.leaf in leaves))
            for place in flow.axes.places(axis)]


def _producers(flow: Flow) -> list[tuple[str, set[int]]]:
    """Every module that produces units, with the leaves of these."""
    return [(name.rpartition(".")[0], flow.axes.leaves(flow.stored[name].axes[axis]))
            for (name, axis), role in flow.roles.items() if role == "out"]


def find_outputs(flow: Flow) -> tuple[str, ...]:
    """The modules whose produced axis reaches the network's outputs."""
    ends = {leaf for value in flow.outputs for axis in value.axes for leaf in flow.axes.leaves(axis)}
    return tuple(dict.fromkeys(module for module, leaves in _producers(flow) if leaves & ends))
