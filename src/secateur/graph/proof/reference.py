"""The slow, obvious twin of a cut: the whole traced graph run in float64, with units masked or permuted.

Nothing is sliced here. A masked run keeps every tensor at its full size, holds removed positions at
zero after every operator, and takes means, variances and extremes over the kept positions only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from secateur.core.errors import UnsupportedError, readable
from secateur.core.modules import stored_tensors
from secateur.core.tensors import tensors_in
from secateur.graph.calls import base_name, describe_call
from secateur.graph.capture import FlatGraph
from secateur.graph.flow import Flow
from secateur.graph.proof.float64 import call_operator, double, double_dtype, in_double, own

Change = Callable[[str, Tensor], Tensor]
Caller = Callable[[fx.Node, tuple[Any, ...], dict[str, Any]], Any]


def run(model: nn.Module, graph: FlatGraph, flow: Flow, change: Change, call: Caller | None = None) -> list[Tensor]:
    """The tensors that :func:`everything` gives."""
    return tensors_in(everything(model, graph, flow, change, call))


def everything(model: nn.Module, graph: FlatGraph, flow: Flow, change: Change, call: Caller | None = None) -> list[Any]:
    """Run the graph in float64 with the network's stored tensors as ``change`` gives them.

    Tensors are converted one at a time, when they are used, and dropped after their last use.
    """
    stored = stored_tensors(model)
    values: dict[fx.Node, Any] = {}
    last = _last_uses(graph.nodes)
    with in_double():
        for node in graph.nodes:
            if node.op == "output":
                return pytree.tree_leaves(fx.map_arg(node.args[0], values.__getitem__))
            if node.op == "call_function":
                _fetch(node, graph, flow, stored, change, values)
                values[node] = _try_call(call or plain, node, *arguments(node, values))
            elif node.op == "get_attr":
                values[node] = double(getattr(graph.module, str(node.target)))
            for dead in last.get(node, ()):
                values.pop(dead, None)
    raise AssertionError("a graph without an output")


def _try_call(call: Caller, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Caller an operator.

    Raises:
        UnsupportedError: it does not run in float64.
    """
    try:
        return call(node, args, kwargs)
    except Exception as error:
        raise UnsupportedError(f"{describe_call(node)} does not run in float64, as the proof needs: {readable(error)}"
                               ) from error


def arguments(node: fx.Node, values: dict[fx.Node, Any]) -> tuple[Any, Any]:
    """The arguments of a call with values in place of nodes, and float64 in place of narrower types."""
    args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
    return fx.node.map_aggregate(args, double_dtype), fx.node.map_aggregate(kwargs, double_dtype)


def _fetch(node: fx.Node, graph: FlatGraph, flow: Flow, stored: dict[str, Tensor], change: Change,
          values: dict[fx.Node, Any]) -> None:
    """Bring the placeholders that a call needs into ``values``."""
    for source in node.all_input_nodes:
        if source.op == "placeholder" and source not in values:
            if name := graph.stored_name(source):
                value = change(flow.names[name], stored[name])
                values[source] = value.clone() if value.data_ptr() == stored[name].data_ptr() else value
            else:
                kind, what = graph.sources[str(source.target)]
                values[source] = own(what if kind == "constant" else graph.leaves[what])


def _last_uses(nodes: Iterable[fx.Node]) -> dict[fx.Node, list[fx.Node]]:
    """For each node, the nodes that nothing after it uses."""
    used: set[fx.Node] = set()
    last: dict[fx.Node, list[fx.Node]] = {}
    for node in reversed(list(nodes)):
        for source in node.all_input_nodes:
            if source not in used:
                used.add(source)
                last.setdefault(node, []).append(source)
    return last


def plain(node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Caller the operator."""
    return call_operator(node.target, base_name(node), args, kwargs)  # type: ignore[arg-type]
