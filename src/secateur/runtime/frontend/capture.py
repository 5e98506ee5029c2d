"""From a module to segments: ``torch.export`` gives the operators, runs of supported ones are cut out.

What is left is a graph module in which every run is one call; everything else stays torch. A run's
*kind* is the sizes of the first axes of its tensors, whose entries are the rows that its kernels see:
``(batch,)`` for images, ``(batch, tokens)`` for the layers of a Transformer.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from secateur.graph.capture import reaches, sizes_of
from secateur.runtime.frontend.exporting import Exported, export_graph
from secateur.runtime.frontend.fuse import fuse
from secateur.runtime.frontend.lower import Refused, lower, rows_of
from secateur.runtime.frontend.node import is_constant
from secateur.runtime.ops import Op, Segment, Value

Kind = tuple[Any, ...]


@dataclass(eq=False)
class Captured:
    """The graph with one ``segment_<k>`` call a segment, the segments, each in torch too, and what was refused."""

    export: Exported
    segments: list[Segment] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    dense: list[fx.GraphModule] = field(default_factory=list)

    @property
    def module(self) -> fx.GraphModule:
        """The graph."""
        return self.export.module

    @property
    def dynamic(self) -> bool:
        """Whether the batch is left open."""
        return self.export.dynamic

    @property
    def weights(self) -> int:
        """How many operators with weights became part of a segment."""
        return sum(op.weight is not None for segment in self.segments for op in segment.ops)


def capture(model: nn.Module, inputs: Sequence[Tensor]) -> Captured:
    """Export a network and cut the supported runs out of it.

    Raises:
        UnsupportedError: the network cannot be exported; the message gives torch's reason.
    """
    inputs = tuple(inputs)
    if "length" not in reaches(inputs):
        return _cut(export_graph(model, inputs, False))
    found = _cut(export_graph(model, inputs, True))
    if not any("another open axis" in reason for _, reason in found.refused):
        return found
    other = _cut(export_graph(model, inputs, False))
    return other if other.weights > found.weights else found


def _cut(export: Exported) -> Captured:
    found, module = Captured(export), export.module
    for run in _runs(module, found.refused):
        if any(op.weight is not None for op in run.ops):
            _replace(found, run)
    module.graph.eliminate_dead_code()
    module.graph.lint()
    module.recompile()
    return found


@dataclass(eq=False)
class _Run:
    kind: Kind
    nodes: list[fx.Node] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)


class _Places:
    """For every node its kind (None: torch) and level; runs are the nodes of one kind and level.

    A node's level is one more than its input's where their kinds differ and the input is in a run; so
    no path leaves a run and comes back to it.
    """

    def __init__(self) -> None:
        self.kind: dict[fx.Node, Kind | None] = {}
        self.level: dict[fx.Node, int] = {}

    def put(self, node: fx.Node, kind: Kind | None) -> None:
        """Place a node whose inputs are placed."""
        self.kind[node] = kind
        self.level[node] = max((self.level[a] + (self.kind[a] is not None and self.kind[a] != kind)
                                for a in node.all_input_nodes), default=0)

    def wanted(self, node: fx.Node) -> Kind:
        """The kind that suits a node: its operator's, its inputs', or that of the next operator that has one."""
        first = rows_of(node)
        if first is None:
            inputs = [a for a in node.all_input_nodes if self.kind.get(a) is not None]
            if inputs:
                return self.kind[max(inputs, key=self.level.__getitem__)] or ()
            first = _ahead(node)
        tensor = node.meta.get("val")
        if not isinstance(tensor, Tensor):
            raise Refused("it does not return a tensor")
        if first < 1 or tensor.ndim <= first:
            raise Refused("it has no batch axis apart from its features")
        return sizes_of(tensor)[:first]


def _ahead(node: fx.Node) -> int:
    """The first axes that the operators behind an element-wise one take as rows; 1 where none says."""
    seen, waiting = set[fx.Node](), list(node.users)
    while waiting:
        user = waiting.pop(0)
        first = rows_of(user)
        if first is not None:
            return first
        if user not in seen and user.op == "call_function" and len(seen) < 64:
            seen.add(user)
            waiting.extend(user.users)
    return 1


def _runs(module: fx.GraphModule, refused: list[tuple[str, str]]) -> list[_Run]:
    """The runs; the nodes of the graph are put in an order in which each is in one piece."""
    places, values, ops = _Places(), dict[tuple[fx.Node, Kind], Value](), dict[fx.Node, Op]()
    for node in module.graph.nodes:
        kind = None
        if node.op == "call_function" and isinstance(node.meta.get("val"), Tensor) and not is_constant(node):
            try:
                kind = places.wanted(node)
                ops[node] = _lower_node(module, node, kind, values)
            except Refused as reason:
                kind = None
                refused.append((f"{node.name} ({node.target})", str(reason)))
        places.put(node, kind)
    groups: dict[Any, _Run] = {}
    order = {node: index for index, node in enumerate(module.graph.nodes)}
    arranged = sorted(order, key=lambda n: _key(n, places, order[n]))
    for node in arranged:
        kind = places.kind[node]
        if kind is not None:
            run = groups.setdefault((places.level[node], str(kind)), _Run(kind))
            run.nodes.append(node)
            run.ops.append(ops[node])
    for before, after in itertools.pairwise(arranged):
        before.append(after)
    return list(groups.values())


def _lower_node(module: fx.GraphModule, node: fx.Node, kind: Kind, values: dict[tuple[fx.Node, Kind], Value]) -> Op:
    sizes = [a.meta.get("val") for a in node.all_input_nodes]
    if any(isinstance(size, torch.SymInt) and str(size) not in kind for size in sizes):
        raise Refused("it needs a size that is computed")
    return lower(module, node, lambda n: _value(n, kind, values))


def _key(node: fx.Node, places: _Places, index: int) -> tuple[Any, ...]:
    if node.op in ("placeholder", "output"):
        return (-1 if node.op == "placeholder" else float("inf"), "", index)
    kind = places.kind[node]
    return (places.level[node], "" if kind is None else str(kind), index)


def _value(node: fx.Node, kind: Kind, values: dict[tuple[fx.Node, Kind], Value]) -> Value:
    """The value of a node: a float32 tensor whose first axes are the rows, the others fixed."""
    key = (node, kind)
    if key not in values:
        tensor = node.meta.get("val")
        if not isinstance(tensor, Tensor) or tensor.dtype != torch.float32:
            raise Refused(f"{node.name} is not a float32 tensor")
        first = len(kind)
        if tensor.ndim <= first or sizes_of(tensor)[:first] != kind:
            raise Refused(f"the first axes of {node.name} are not the rows of what it reads")
        if any(not isinstance(s, int) for s in tensor.shape[first:]):
            raise Refused(f"{node.name} has another open axis than its rows")
        if 0 in tensor.shape[first:]:
            raise Refused(f"{node.name} is empty")
        values[key] = Value(len(values), tuple(tensor.shape[first:]))
    return values[key]


def _replace(found: Captured, run: _Run) -> None:
    """Put one call in the place of a run."""
    graph, inside = found.module.graph, set(run.nodes)
    by_value = {op.output: node for op, node in zip(run.ops, run.nodes, strict=True)}
    sources = {node: value for op, origin in zip(run.ops, run.nodes, strict=True)
               for node, value in zip(tensors_of(origin, inside), _outer(op, by_value), strict=True)}
    outputs = [v for v, node in by_value.items() if any(user not in inside for user in node.users)]
    dense = _alone(found.module, run, tuple(sources), [by_value[v] for v in outputs])
    found.module.add_module(f"segment_{len(found.segments)}", nn.Identity())
    with graph.inserting_after(run.nodes[-1]):
        call = graph.call_module(f"segment_{len(found.segments)}", tuple(sources))
    previous = call
    for position, value in enumerate(outputs):
        with graph.inserting_after(previous):
            item = graph.call_function(_item, (call, position))
        item.meta["val"] = by_value[value].meta["val"]
        by_value[value].replace_all_uses_with(item, delete_user_cb=lambda user: user not in inside)
        previous = item
    for node in reversed(run.nodes):
        graph.erase_node(node)
    found.segments.append(Segment(tuple(sources.values()), fuse(run.ops, outputs), tuple(outputs)))
    found.dense.append(dense)


def _outer(op: Op, made: dict[Value, fx.Node]) -> list[Value]:
    """The values that an operator reads from outside its run."""
    return [v for v in dict.fromkeys(op.inputs) if v not in made]


def tensors_of(node: fx.Node, inside: set[fx.Node]) -> list[fx.Node]:
    """The tensors that an operator reads from outside its run, without its weights."""
    return [a for a in node.all_input_nodes
            if a not in inside and not is_constant(a) and isinstance(a.meta.get("val"), Tensor)]


def _alone(module: fx.GraphModule, run: _Run, sources: tuple[fx.Node, ...], outputs: list[fx.Node]) -> fx.GraphModule:
    """The run as a torch module of its own."""
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in sources:
        copies[node] = graph.placeholder(f"input_{len(copies)}")

    def copied(node: fx.Node) -> fx.Node:
        if node not in copies:
            copies[node] = (graph.node_copy(node, copied) if is_constant(node) or node in run.nodes
                            else _size(graph, copies[sources[0]], node.meta["val"], run.kind))
        return copies[node]

    for node in run.nodes:
        copied(node)
    graph.output(tuple(copies[node] for node in outputs))
    return fx.GraphModule(module, graph)


def _size(graph: fx.Graph, source: fx.Node, size: Any, kind: Kind) -> fx.Node:
    """A size that the rows have, read from the first input."""
    return graph.call_function(torch.ops.aten.sym_size.int, (source, kind.index(str(size))))


def _item(values: Any, position: int) -> Any:
    return values[position]
