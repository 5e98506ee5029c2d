"""From a module to segments: ``torch.export`` gives the operators, runs of supported ones are cut out.

What is left is a graph module in which every run is one call; everything else stays torch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from secateur.errors import UnsupportedError, first_line
from secateur.runtime.lower import Refused, lower
from secateur.runtime.ops import Op, Segment, Value


@dataclass(eq=False)
class Captured:
    """The graph with one ``segment_<k>`` call a segment, the segments, each in torch too, and what was refused."""

    module: fx.GraphModule
    segments: list[Segment]
    refused: list[tuple[str, str]] = field(default_factory=list)
    dense: list[fx.GraphModule] = field(default_factory=list)
    dynamic: bool = True


def capture(model: nn.Module, inputs: Sequence[Tensor]) -> Captured:
    """Export a network and cut the supported runs out of it.

    Raises:
        UnsupportedError: the network cannot be exported; the message gives torch's reason.
    """
    module, dynamic = exported(model, tuple(inputs))
    batch = batch_of(module)
    _hoist_sizes(module, batch)
    found = Captured(module, [], dynamic=dynamic)
    for run in _runs(module, batch, found.refused):
        if any(op.weight is not None for op in run.ops):
            _replace(found, run)
    module.graph.lint()
    module.recompile()
    return found


def exported(model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[fx.GraphModule, bool]:
    """The exported graph, with the batch left open where the network allows it."""
    model = copy.deepcopy(model).eval().requires_grad_(False)
    errors = []
    for dynamic in (True, False):
        try:
            with torch.no_grad():
                return _export(model, inputs, dynamic), dynamic
        except Exception as error:
            errors.append(first_line(error))
    raise UnsupportedError(f"torch.export cannot capture the network: {errors[-1]}")


def _export(model: nn.Module, inputs: tuple[Tensor, ...], dynamic: bool) -> fx.GraphModule:
    if not dynamic:
        return torch.export.export(model, inputs, strict=False).module()  # type: ignore[return-value]
    if not inputs or any(x.ndim < 1 or x.shape[0] != inputs[0].shape[0] for x in inputs):
        raise UnsupportedError("inputs have no common batch axis")
    wide = tuple(torch.cat([x, x, x], 0)[:max(3, x.shape[0])] if 0 < x.shape[0] < 3 else x for x in inputs)
    shapes = tuple({0: torch.export.Dim.AUTO} for _ in wide)
    program = torch.export.export(model, wide, dynamic_shapes=(shapes,) if _variadic(model) else shapes, strict=False)
    module = program.module()
    if not isinstance(batch_of(module), torch.SymInt):  # type: ignore[arg-type]
        raise UnsupportedError("the network fixes its batch")
    return module  # type: ignore[return-value]


def _variadic(model: nn.Module) -> bool:
    import inspect

    kinds = [p.kind for p in inspect.signature(model.forward).parameters.values()]
    return bool(kinds) and kinds[0] is inspect.Parameter.VAR_POSITIONAL


def batch_of(module: fx.GraphModule) -> Any:
    """The size of the first input's first axis: a symbol, or a number."""
    first = next(n for n in module.graph.nodes if n.op == "placeholder")
    shape = first.meta["val"].shape
    return shape[0] if len(shape) else None


def _hoist_sizes(module: fx.GraphModule, batch: Any) -> None:
    """Read the batch from the first input, wherever the graph reads it; drop guards and what nobody uses."""
    nodes = list(module.graph.nodes)
    inputs = [n for n in nodes if n.op == "placeholder"]
    with module.graph.inserting_after(inputs[-1]):
        size = module.graph.call_function(torch.ops.aten.sym_size.int, (inputs[0], 0))
        size.meta["val"] = batch
    for node in nodes:
        if node.op == "call_module" and "guard" in str(node.target):
            module.graph.erase_node(node)
        elif node is not size and node.target is torch.ops.aten.sym_size.int and same(node.meta.get("val"), batch):
            node.replace_all_uses_with(size)
    module.graph.eliminate_dead_code()


def same(size: Any, batch: Any) -> bool:
    """Whether a size is the batch; symbols are compared by their expression."""
    return isinstance(size, torch.SymInt) is isinstance(batch, torch.SymInt) and str(size) == str(batch)


@dataclass(eq=False)
class _Run:
    nodes: list[fx.Node]
    ops: list[Op]


def _runs(module: fx.GraphModule, batch: Any, refused: list[tuple[str, str]]) -> list[_Run]:
    values: dict[fx.Node, Value] = {}
    runs, current = [], _Run([], [])
    for node in module.graph.nodes:
        if node.op in ("placeholder", "get_attr", "output") or node.target is torch.ops.aten.sym_size.int:
            continue
        try:
            op = lower(module, node, lambda n: _value(n, values, batch))
        except Refused as reason:
            refused.append((f"{node.name} ({node.target})", str(reason)))
            runs.append(current)
            current = _Run([], [])
            continue
        current.nodes.append(node)
        current.ops.append(op)
    return [run for run in [*runs, current] if run.nodes]


def _value(node: fx.Node, values: dict[fx.Node, Value], batch: Any) -> Value:
    """The value of a node: a float32 tensor whose first axis is the batch, the others fixed."""
    if node not in values:
        tensor = node.meta.get("val")
        if not isinstance(tensor, Tensor) or tensor.dtype != torch.float32:
            raise Refused(f"{node.name} is no float32 tensor")
        if tensor.ndim < 2 or not same(tensor.shape[0], batch):
            raise Refused(f"the first axis of {node.name} is not the batch")
        if any(not isinstance(s, int) for s in tensor.shape[1:]):
            raise Refused(f"{node.name} has another open axis than the batch")
        if 0 in tensor.shape[1:]:
            raise Refused(f"{node.name} is empty")
        values[node] = Value(len(values), tuple(tensor.shape[1:]))
    return values[node]


def _replace(found: Captured, run: _Run) -> None:
    """Put one call in the place of a run."""
    graph, inside = found.module.graph, set(run.nodes)
    dense = _alone(found.module, run)
    by_value = {op.output: node for op, node in zip(run.ops, run.nodes, strict=True)}
    pairs = [(arg, v) for node, op in zip(run.nodes, run.ops, strict=True)
             for arg, v in zip(_tensor_args(node, len(op.inputs)), op.inputs, strict=True) if arg not in inside]
    sources = dict(pairs)
    outputs = [v for v, node in by_value.items() if any(user not in inside for user in node.users)]
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
    found.dense.append(dense(tuple(sources), [by_value[v] for v in outputs]))


def _alone(module: fx.GraphModule, run: _Run) -> Callable[[tuple[fx.Node, ...], list[fx.Node]], fx.GraphModule]:
    """A maker of the run as a torch module of its own; the nodes are copied now, before they change."""
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    inside = set(run.nodes)
    outer = dict.fromkeys(a for n in run.nodes for a in n.all_input_nodes if a not in inside)
    tensors = [a for a in outer if a.op != "get_attr" and isinstance(a.meta.get("val"), Tensor)]
    for node in tensors:
        copies[node] = graph.placeholder(f"input_{len(copies)}")
    for node in outer:
        if node.op == "get_attr":
            copies[node] = graph.node_copy(node)
        elif node not in copies:
            copies[node] = graph.call_function(torch.ops.aten.sym_size.int, (copies[tensors[0]], 0))
    for node in run.nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)

    def make(sources: tuple[fx.Node, ...], outputs: list[fx.Node]) -> fx.GraphModule:
        assert list(sources) == tensors
        graph.output(tuple(copies[node] for node in outputs))
        return fx.GraphModule(module, graph)

    return make


def _item(values: Any, position: int) -> Any:
    return values[position]


def _tensor_args(node: fx.Node, count: int) -> list[fx.Node]:
    """The tensors that an operator reads, without its weights."""
    args = node.args[0] if isinstance(node.args[0], (list, tuple)) else node.args[:count]
    return [a for a in args if isinstance(a, fx.Node)]  # type: ignore[union-attr]


def fuse(ops: Sequence[Op], outputs: Sequence[Value]) -> tuple[Op, ...]:
    """Activations move into the operator before them, where nobody else reads its output."""
    readers: dict[Value, int] = dict.fromkeys(outputs, 1)
    for op in ops:
        for value in op.inputs:
            readers[value] = readers.get(value, 0) + 1
    fused: list[Op] = []
    for op in ops:
        before = next((k for k, o in enumerate(fused) if op.inputs and o.output == op.inputs[0]), None)
        if op.kind == "affine":
            assert before is not None
            fused[before] = folded(fused[before], op)
        elif op.kind == "act" and before is not None and _takes(fused[before]) and readers[op.inputs[0]] == 1:
            old = fused[before]
            fused[before] = Op(old.kind, old.name, old.inputs, op.output, old.weight, old.bias, op.act, old.settings)
        else:
            fused.append(op)
    return tuple(fused)


def folded(layer: Op, norm: Op) -> Op:
    """A layer with the batch norm behind it in its weight and bias."""
    assert layer.weight is not None
    factor, offset = norm.settings["factor"], norm.settings["offset"]
    weight = layer.weight * factor.reshape(-1, *[1] * (layer.weight.ndim - 1))
    bias = (0 if layer.bias is None else layer.bias) * factor + offset
    return Op(layer.kind, layer.name, layer.inputs, norm.output, weight.astype(np.float32), bias.astype(np.float32),
              layer.act, layer.settings)


def _takes(op: Op) -> bool:
    return (op.weight is not None or op.kind == "add") and op.act == "none"
