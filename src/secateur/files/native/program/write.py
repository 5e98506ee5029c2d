"""A traced graph as JSON: what it takes, its calls in order, what it gives; no code, no expressions, no classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from secateur.core import pytree as nested
from secateur.core.errors import SecateurError
from secateur.core.modules import stored_tensors
from secateur.files.native import strict
from secateur.files.native.program import arguments, conditions, operators
from secateur.graph.calls import base_name
from secateur.graph.capture import FlatGraph
from secateur.graph.cut.graph_module import DROPPED
from secateur.graph.cut.signature import signature_of
from secateur.measure.size import tensors

_CONSTANT = ":constant{}"


@dataclass
class Placed:
    """Where the values of a graph stand: stored tensors first, then inputs, then what is computed.

    ``constants`` are the tensors that the network's code made, by the names that the file has for them.
    """

    stored: list[str] = field(default_factory=list)
    constants: dict[str, Tensor] = field(default_factory=dict)
    at: dict[fx.Node, int] = field(default_factory=dict)

    def store(self, node: fx.Node, kind: str, what: Any, names: dict[str, str]) -> None:
        """A placeholder of a parameter, buffer or constant."""
        name = names[what] if kind in ("parameter", "buffer") else _CONSTANT.format(len(self.constants))
        if kind not in ("parameter", "buffer"):
            if not isinstance(what, Tensor):
                raise SecateurError(f"the graph holds a {type(what).__name__}, which a file cannot store")
            self.constants[name] = what.detach()
        if name not in self.stored:
            self.stored.append(name)
        self.at[node] = self.stored.index(name)

    def position(self, node: fx.Node) -> int:
        """Where a value stands."""
        return self.at[node]


def program(model: nn.Module, graph: FlatGraph) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A traced network as JSON, and the constants of its code.

    Raises:
        SecateurError: an operator, argument, condition, input or output that no file can hold.
    """
    placed, nodes, names = Placed(), list(graph.nodes), _one_name(model)
    given = [(node, *graph.sources[str(node.target)]) for node in nodes if node.op == "placeholder"]
    for node, kind, what in given:
        if kind != "input":
            placed.store(node, kind, what, names)
    inputs = [node for node, kind, _ in given if kind == "input"]
    placed.at.update((node, len(placed.stored) + i) for i, node in enumerate(inputs))
    calls: list[list[Any]] = []
    for node in nodes:
        if node.op not in ("placeholder", "output") and base_name(node) not in DROPPED:
            calls.append(call(node, placed))
            placed.at[node] = len(placed.stored) + len(inputs) + len(calls) - 1
    told = {"tensors": placed.stored, "takes": takes(model, graph), "calls": calls,
            "gives": gives(graph, nodes[-1], placed), **kinds(model)}
    return told, placed.constants


def call(node: fx.Node, placed: Placed) -> list[Any]:
    """One operator with its arguments."""
    if node.op != "call_function":
        raise SecateurError(f"the graph has a {node.op} '{strict.short(node.target)}', which a file cannot store")
    given = [arguments.to_json(a, placed.position) for a in node.args]
    named = {k: arguments.to_json(v, placed.position) for k, v in node.kwargs.items()}
    return [operators.name_of(node.target), given, *([named] if named else [])]


def _one_name(model: nn.Module) -> dict[str, str]:
    """For every name of a tensor in the network the one that the file has for it."""
    first = {id(tensor): name for name, tensor in reversed(tensors(model))}
    return {name: first[id(tensor)] for name, tensor in stored_tensors(model).items()}


def kinds(model: nn.Module) -> dict[str, list[str]]:
    """Which tensors are parameters, and which of them do not learn."""
    own = list(model.named_parameters())
    return {"parameters": [name for name, _ in own], "frozen": [name for name, p in own if not p.requires_grad]}


def takes(model: nn.Module, graph: FlatGraph) -> dict[str, Any]:
    """What the graph takes: the forward's names, the inputs' nesting, their types and sizes, conditions on them."""
    found = signature_of(model.forward, graph)
    return {"parameters": [[name, int(kind), default] for name, kind, default in found.parameters],
            "inputs": nested.flatten(found.takes, number), "guards": [conditions.to_json(g) for g, _ in found.guards],
            "like": [like(one, value) for one, value in zip(found.like, graph.leaves, strict=True)]}


def number(value: Any) -> int:
    """The position of an input."""
    if type(value) is not int:
        raise SecateurError(f"the inputs are nested in a {type(value).__name__}; a file holds tuples, lists and dicts")
    return value


def like(told: Any, value: Any) -> dict[str, Any]:
    """What one input must be."""
    if isinstance(value, Tensor):
        return {"sizes": list(told)}
    if type(value) not in nested.PLAIN:
        raise SecateurError(f"an input is a {type(value).__name__}; a file holds tensors and plain values")
    return {"value": value}


def gives(graph: FlatGraph, output: fx.Node, placed: Placed) -> dict[str, Any]:
    """The outputs, nested as the network nests them, in tuples, lists and dicts."""
    flat = [arguments.to_json(one, placed.position) for one in pytree.tree_leaves(output.args[0])]
    marks = [torch.empty(0, device="meta") for _ in flat]
    told = {id(mark): one for mark, one in zip(marks, flat, strict=True)}
    whole = nested.without_classes(pytree.tree_unflatten(marks, graph.out_spec))
    return nested.flatten(whole, lambda mark: position(told, mark))


def position(told: dict[int, Any], mark: Any) -> Any:
    """Where an output stands, or the plain value that it is."""
    if id(mark) not in told:
        raise SecateurError(f"the network returns a {type(mark).__name__}; a file holds tensors in tuples, lists, "
                            "dicts")
    return told[id(mark)]
