"""What a traced graph takes: the example's inputs, in whatever way they are passed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from secateur.core.errors import SecateurError
from secateur.graph.capture import FlatGraph
from secateur.graph.example import describe

Guard = tuple[str, Callable[[dict[str, Any]], bool]]


class GraphInputs:
    """The inputs that a traced graph was made for.

    Args:
        parameters: of the network's own forward: name, kind, and whether it has a default.
        takes: the inputs by name, nested as the example's, each leaf its position among the graph's inputs.
        like: what each input of the graph must be, a tuple of sizes (None where one is open), or the value itself.
        guards: conditions on open sizes, in words and as functions of the inputs by name.
    """

    def __init__(self, parameters: list[tuple[str, Any, bool]], takes: dict[str, Any], like: list[Any],
                 guards: list[Guard]):
        self.parameters, self.takes, self.like, self.guards = parameters, takes, like, guards
        self.names = list(takes)
        self.order, self.spec = pytree.tree_flatten(takes)
        self.signature = _signature(parameters)

    def leaves(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The inputs of the graph in its order.

        Raises:
            SecateurError: other inputs, sizes or settings than the graph was traced with.
        """
        by_name = _bind(self.signature, args, kwargs)
        if list(by_name) != self.names:
            raise SecateurError(f"inputs of the cut graph: got {', '.join(by_name)}, allowed: {', '.join(self.names)}, "
                                "as in the example")
        leaves, spec = pytree.tree_flatten(by_name)
        if spec != self.spec:
            raise SecateurError(f"the cut graph takes {len(self.like)} inputs, nested as in the example; got "
                                f"{len(leaves)}")
        inputs = [value for _, value in sorted(zip(self.order, leaves, strict=True), key=lambda pair: pair[0])]
        for position, (value, like) in enumerate(zip(inputs, self.like, strict=True)):
            if not _fits(value, like):
                raise SecateurError(f"input {position} of the cut graph: got "
                                    f"{list(value.shape) if isinstance(value, Tensor) else repr(value)}, "
                                    f"allowed: {_describe_allowed(like)}")
        self.check_guards(by_name)
        return inputs

    def check_guards(self, inputs: dict[str, Any]) -> None:
        """Refuse sizes for which the code would have taken another path.

        Raises:
            SecateurError: a guard of the trace does not hold.
        """
        for words, holds in self.guards:
            if not holds(inputs):
                got = ", ".join(describe(v) for v in pytree.tree_leaves(inputs))
                raise SecateurError(f"inputs of the cut graph: got {got}, allowed: sizes with {words}")


def signature_of(forward: Callable[..., Any], graph: FlatGraph) -> GraphInputs:
    """What a trace takes; ``forward`` is the network's own, which says how its inputs are called.

    Raises:
        SecateurError: a guard of the trace does not hold for its own example.
    """
    forward_parameters = inspect.signature(forward).parameters.values()
    parameters = [(p.name, p.kind, p.default is not p.empty) for p in forward_parameters]
    leaves, spec = pytree.tree_flatten((graph.args, graph.kwargs))
    args, kwargs = pytree.tree_unflatten(list(range(len(leaves))), spec)
    like = [_allowed(node, value) for node, value in zip(graph.inputs, leaves, strict=True)]
    inputs = GraphInputs(parameters, _bind(_signature(parameters), args, kwargs), like,
                 [(guard, partial(_holds_by_torch, guard)) for guard in graph.guards or ()])
    inputs.check_guards(_bind(inputs.signature, graph.args, graph.kwargs))
    return inputs


def _signature(parameters: list[tuple[str, Any, bool]]) -> inspect.Signature:
    """The signature of a forward with these names."""
    return inspect.Signature([inspect.Parameter(n, k, default=None if d else inspect.Parameter.empty)
                              for n, k, d in parameters])


def _holds_by_torch(guard: str, inputs: dict[str, Any]) -> bool:
    """Whether a guard holds, which torch told a moment ago; one of a file never comes here."""
    return bool(eval(guard, {"torch": torch}, {"L": inputs}))


def _bind(forward: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Inputs by the names that a forward has for them.

    Raises:
        SecateurError: they are too many, too few, or of other names.
    """
    try:
        return {k: _sort_names(v) for k, v in forward.bind(*args, **kwargs).arguments.items()}
    except TypeError as error:
        got = ", ".join([*map(describe, args), *kwargs])
        raise SecateurError(f"inputs of the cut graph: {error}; got {got or 'nothing'}") from error


def _sort_names(value: Any) -> Any:
    """Dicts inside an input with their entries in the order of their names."""
    if type(value) is dict:
        return {k: _sort_names(value[k]) for k in sorted(value, key=str)}
    return type(value)(map(_sort_names, value)) if type(value) in (list, tuple) else value


def _allowed(node: fx.Node, value: Any) -> Any:
    """What an input of a graph must be: a tuple of sizes, nothing where one is open, or the value itself."""
    if not isinstance(value, Tensor):
        return value
    return tuple(s if isinstance(s, int) else None for s in node.meta["val"].shape)


def _fits(value: Any, like: Any) -> bool:
    """Whether an input is what the trace had, open axes aside."""
    if not isinstance(value, Tensor) or not isinstance(like, tuple):
        return not isinstance(value, Tensor) and type(value) is type(like) and bool(value == like)
    return value.ndim == len(like) and all(s in (None, got) for s, got in zip(like, value.shape, strict=True))


def _describe_allowed(like: Any) -> str:
    """What an input may be, in words."""
    if not isinstance(like, tuple):
        return repr(like)
    sizes = ", ".join("any" if s is None else str(s) for s in like)
    return f"[{sizes}] (the example's sizes{', where the network was traced for one' if None in like else ''})"
