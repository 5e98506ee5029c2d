"""A graph module that is pickled with its graph.

``torch.fx.GraphModule`` pickles the code that it makes of a graph and traces that code again when it is loaded. The
second trace may differ from the graph: it runs what depends on Python values once and keeps the result, and it fails
where the code asks for the truth of a traced value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import fx, nn
from torch.fx.node import map_aggregate


@dataclass(frozen=True)
class _Reference:
    """A node among the arguments of another one."""

    name: str


@dataclass(frozen=True)
class _Operator:
    """A registered operator: ``("aten", "add", "Tensor")``. torch's own operators cannot be pickled."""

    path: tuple[str, ...]

    def find(self) -> Any:
        """The operator itself."""
        return reduce(getattr, self.path, torch.ops)


@dataclass(frozen=True)
class _Call:
    """One node: what it does, its name, what it calls and with what."""

    op: str
    name: str
    target: Any
    args: Any
    kwargs: Any


# What a graph module holds besides a module's own state: all of it is made anew from the graph.
_MADE = vars(fx.GraphModule(nn.Module(), fx.Graph())).keys() - vars(nn.Module()).keys()


class StoredGraph(fx.GraphModule):
    """A graph module whose pickle holds the graph, so that what is loaded computes what was saved."""

    def __reduce__(self) -> tuple[Callable[..., StoredGraph], tuple[Any, ...]]:
        # fx makes a class of its own for every graph module; the class that the source names is the next one.
        kind = type(self).__mro__[1]
        state = {key: value for key, value in vars(self).items() if key not in _MADE}
        calls = [_describe(node) for node in self.graph.nodes]
        # How inputs and outputs are nested, where a graph comes from torch.export.
        return _restore, (kind, calls, self.graph._codegen, state)


def _describe(node: fx.Node) -> _Call:
    args, kwargs = map_aggregate((node.args, node.kwargs), _refer)
    return _Call(node.op, node.name, _describe_target(node.target), args, kwargs)


def _refer(value: Any) -> Any:
    return _Reference(value.name) if isinstance(value, fx.Node) else value


def _describe_target(target: Any) -> Any:
    if isinstance(target, torch._ops.OpOverload):
        space, name = target._schema.name.split("::")
        return _Operator((space, name, target._overloadname))
    return _Operator(("higher_order", target.name())) if isinstance(target, torch._ops.HigherOrderOperator) else target


def _restore(kind: type[StoredGraph], calls: list[_Call], nesting: Any, state: dict[str, Any]) -> StoredGraph:
    """The graph module of a pickle."""
    graph, nodes = fx.Graph(), dict[str, fx.Node]()
    for call in calls:
        args, kwargs = map_aggregate((call.args, call.kwargs),
                                     lambda v: nodes[v.name] if isinstance(v, _Reference) else v)
        target = call.target.find() if isinstance(call.target, _Operator) else call.target
        nodes[call.name] = graph.create_node(call.op, target, args, kwargs, call.name)
    graph.set_codegen(nesting)
    root = nn.Module()
    vars(root).update(state)
    made = kind(root, graph)
    vars(made).update(state)
    return made
