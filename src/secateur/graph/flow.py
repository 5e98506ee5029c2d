"""Carries axes through a graph: one rule an operator, unknown operators fix what they touch."""

from __future__ import annotations

import functools
import operator
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from secateur.core.modules import stored_tensors
from secateur.graph.axes import Axes
from secateur.graph.calls import arguments_of, base_name, describe_call, source_of
from secateur.graph.capture import FlatGraph
from secateur.graph.rules import RULES
from secateur.graph.rules.base import Call, TensorAxes

OUTPUT = "it reaches the network's output"
"""Why the units that a network gives stay."""
_BY_ROWS = {"linear", "index", "index_add", "dropout", "layer_norm", "rms_norm", "view", "reshape", "_unsafe_view",
            "unsqueeze", "chunk", "split", "to", "_to_copy", "contiguous", "softmax"}


@dataclass
class Flow:
    """What the rules found.

    ``values`` holds what every node gives, ``stored`` the parameters and buffers by their first name, ``names`` the
    first name of each name. ``roles`` says what an axis of a stored tensor does (:meth:`Call.role`), ``first_use``
    which call uses a tensor first, ``notes`` which arguments of a call are sizes of axes (its groups). ``shares`` are
    axes with a softmax along them, ``experts`` those of them that count experts. ``whole`` and ``whole_names`` are the
    nodes and tensors that a norm goes over (:mod:`secateur.graph.norm_axes`).
    """

    axes: Axes
    values: dict[fx.Node, Any] = field(default_factory=dict)
    stored: dict[str, TensorAxes] = field(default_factory=dict)
    roles: dict[tuple[str, int], str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    outputs: list[TensorAxes] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    first_use: dict[str, fx.Node] = field(default_factory=dict)
    notes: dict[fx.Node, dict[str, int]] = field(default_factory=dict)
    shares: list[tuple[int, str]] = field(default_factory=list)
    experts: set[int] = field(default_factory=set)
    whole: set[fx.Node] = field(default_factory=set)
    whole_names: set[str] = field(default_factory=set)

    def tensors(self, *nodes: fx.Node) -> list[TensorAxes]:
        """The tensors that nodes stand for, lists opened."""
        values = (self.values.get(n) for n in nodes)
        every = [v for value in values for v in (value if isinstance(value, list) else [value])]
        return [v for v in every if isinstance(v, TensorAxes)]

    def leaves(self, node: fx.Node) -> set[int]:
        """The leaves that lie in the axes of what a node gives."""
        return {leaf for value in self.tensors(node) for axis in value.axes for leaf in self.axes.leaves(axis)}


def follow(model: nn.Module, graphs: Sequence[FlatGraph]) -> Flow:
    """Walk every graph of a network once and tie what each operator ties; all share the stored tensors."""
    flow = Flow(Axes(), names=_first_names(model))
    for one in graphs:
        for node in one.nodes:
            _visit(flow, one, node)
    for axis, reason in flow.shares:
        _share(flow, axis, reason)
    return flow


def _share(flow: Flow, axis: int, reason: str) -> None:
    """Fix an axis that a softmax runs along, unless it counts experts: matrices stacked in one parameter."""
    leaf = flow.axes.find(axis)
    several = [name for name, value in flow.stored.items() if len(value.axes) > 2
               and flow.axes.find(value.axes[0]) == leaf and name in flow.first_use]
    # The weight of a convolution has more than two axes as well; its first one counts channels.
    stacks = [name for name in several if "conv" not in base_name(flow.first_use[name])]
    if not flow.axes.is_leaf(leaf) or leaf in flow.axes.fixed or not stacks:
        flow.axes.fix(axis, reason)
    else:
        flow.experts.add(leaf)


def _visit(flow: Flow, graph: FlatGraph, node: fx.Node) -> None:
    flow.axes.context = functools.partial(describe_call, node)
    if node.op == "placeholder":
        flow.values[node] = _stored(flow, graph, node)
    elif node.op == "get_attr":
        flow.values[node] = _constant(flow.axes, getattr(graph.module, str(node.target)))
    elif node.op == "call_function":
        flow.values[node] = _call(flow, node)
    elif node.op == "output":
        flow.outputs += flow.tensors(*node.all_input_nodes)
        for axis in (a for value in flow.outputs for a in value.axes):
            flow.axes.fix(axis, OUTPUT)


def _first_names(model: nn.Module) -> dict[str, str]:
    """Every name of a stored tensor, with the first name of the same tensor: tied weights share one."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in stored_tensors(model).items()}


def tied_names(model: nn.Module) -> tuple[tuple[str, ...], ...]:
    """All names of every tensor that lies in several places of a network."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, first in _first_names(model).items():
        names[first].append(name)
    return tuple(tuple(same) for same in names.values() if len(same) > 1)


def _stored(flow: Flow, graph: FlatGraph, node: fx.Node) -> Any:
    if what := graph.stored_name(node):
        name = flow.names[what]
        if name not in flow.stored:
            shape = _shape_of(node.meta["val"])
            flow.stored[name] = TensorAxes(shape, [flow.axes.leaf(s) for s in shape], (name, tuple(range(len(shape)))))
        return flow.stored[name]
    kind, what = graph.sources[str(node.target)]
    if kind == "constant":
        return _constant(flow.axes, what)
    if isinstance(node.meta.get("val"), Tensor):
        shape = _shape_of(node.meta["val"])
        return TensorAxes(shape, [flow.axes.leaf(s, "an axis of the input") for s in shape])
    return node.meta.get("val")


def _constant(axes: Axes, tensor: Any) -> Any:
    """A tensor written into the code: its axes are fixed."""
    if not isinstance(tensor, Tensor):
        return tensor
    return TensorAxes(tuple(tensor.shape), [axes.leaf(s, "a constant of the code") for s in tensor.shape])


def _shape_of(value: Any) -> tuple[int, ...]:
    """The sizes of a traced tensor: an open one as the example had it, one that depends on data as -1."""
    return tuple(s if isinstance(s, int) else (s.node.hint if s.node.has_hint() else -1) for s in value.shape)


def _call(flow: Flow, node: fx.Node) -> Any:
    if node.target is operator.getitem:
        return flow.values[node.args[0]][node.args[1]]  # type: ignore[index]
    shapes = _output_shapes(node)
    if not shapes:
        return None
    known = hasattr(node.target, "_schema")
    args = _resolve(flow, arguments_of(node)) if known else {"all": flow.tensors(*node.all_input_nodes)}
    call = Call(flow.axes, node, base_name(node), args, shapes, flow.roles)
    for value in call.tensors:
        if value.origin:
            flow.first_use.setdefault(value.origin[0], node)
    result = _apply(flow, call) if known else _unknown(flow, call)
    flow.notes[node] = call.notes
    flow.shares += call.shares
    return _package(call, result)


def _apply(flow: Flow, call: Call) -> Any:
    shapes = [*(v.shape for v in call.tensors), *call.shapes]
    if any(-1 in s for s in shapes) and (any(-1 in s[1:] for s in shapes) or not _counts_rows(call)):
        return _unknown(flow, call, "a size that depends on the data")
    function = RULES.get(call.name) or RULES.get(call.name.rstrip("_"))
    if function is None and is_pointwise(call.node.target):
        function = RULES["pointwise"]
    return function(call) if function else _unknown(flow, call)


def _counts_rows(call: Call) -> bool:
    """Whether a rule holds for any number of rows, one that depends on the data too and that came with an input."""
    by_rows = call.name.rstrip("_") in _BY_ROWS or is_pointwise(call.node.target)
    return by_rows and any(-1 in v.shape for v in call.tensors)


def is_pointwise(target: Any) -> bool:
    """Whether torch tags an operator, or the one that it is the in-place form of, as element-wise."""
    # An in-place form may lack the tag that the other overloads of its name have.
    packet = getattr(torch.ops.aten, target._schema.name.split("::")[-1].rstrip("_"), None)
    others = [getattr(packet, name) for name in packet.overloads()] if packet else []
    return any(torch.Tag.pointwise in t.tags for t in [target, *others])


def _unknown(flow: Flow, call: Call, why: str = "") -> list[list[int]]:
    reason = why or "an operator without a rule"
    if not why and any(call.axes.find(a) not in call.axes.fixed for v in call.tensors for a in v.axes):
        flow.unknown.setdefault(call.name, source_of(call.node))
    return call.fix_all(reason)


def _package(call: Call, result: Any) -> Any:
    """The axes that a rule gave as values, checked against the traced shapes."""
    if isinstance(result, TensorAxes):
        return result
    parts = result if result and isinstance(result[0], (list, TensorAxes)) else [result]
    values = []
    for shape, axes in zip(call.shapes, parts, strict=False):
        if isinstance(axes, TensorAxes):
            values.append(axes)
            continue
        sizes = [call.axes.sizes[a] for a in axes]
        assert sizes == [max(s, -1) for s in shape], f"rule of {call.where}: axes {sizes}, tensor {shape}"
        values.append(TensorAxes(shape, list(axes)))
    return values if isinstance(call.node.meta["val"], (tuple, list)) else values[0]


def _output_shapes(node: fx.Node) -> list[tuple[int, ...]]:
    """The shapes of what a call gives, tensors only."""
    value = node.meta.get("val")
    parts = value if isinstance(value, (tuple, list)) else [value]
    return [_shape_of(v) for v in parts if isinstance(v, Tensor)]


def _resolve(flow: Flow, value: Any) -> Any:
    """Arguments with nodes replaced by what they stand for; tuples become lists."""
    if isinstance(value, fx.Node):
        return flow.values.get(value)
    if isinstance(value, dict):
        return {key: _resolve(flow, v) for key, v in value.items()}
    return [_resolve(flow, v) for v in value] if isinstance(value, (list, tuple)) else value
