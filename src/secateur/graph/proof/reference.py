"""The slow, obvious twin of a cut: the whole traced graph run in float64, with units masked or permuted.

Nothing is sliced here. A masked run keeps every tensor at its full size, holds removed positions at
zero after every operator, and takes means, variances and extremes over the kept positions only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, fx, nn

from secateur.core.errors import UnsupportedError, readable
from secateur.core.modules import stored_tensors
from secateur.graph.calls import base_name, describe_call
from secateur.graph.capture import Captured
from secateur.graph.flow import Flow
from secateur.graph.proof.float64 import call_operator, double, double_dtype, in_double, own

Change = Callable[[str, Tensor], Tensor]
Call = Callable[[fx.Node, tuple[Any, ...], dict[str, Any]], Any]


def run(model: nn.Module, captured: Captured, flow: Flow, change: Change, call: Call | None = None,
        ) -> list[Tensor]:
    """The tensors that :func:`everything` gives."""
    return [v for v in everything(model, captured, flow, change, call) if isinstance(v, Tensor)]


def everything(model: nn.Module, captured: Captured, flow: Flow, change: Change, call: Call | None = None) -> list[Any]:
    """Run the graph in float64 with the network's stored tensors as ``change`` gives them.

    Tensors are converted one at a time, when they are used, and dropped after their last use.
    """
    stored = stored_tensors(model)
    values: dict[fx.Node, Any] = {}
    last = _last_uses(captured.graph.graph)
    with in_double():
        for node in captured.graph.graph.nodes:
            if node.op == "output":
                return flatten(fx.map_arg(node.args[0], values.__getitem__))
            if node.op == "call_function":
                fetch(node, captured, flow, stored, change, values)
                args = fx.node.map_aggregate(fx.map_arg(node.args, values.__getitem__), double_dtype)
                kwargs = fx.node.map_aggregate(fx.map_arg(node.kwargs, values.__getitem__), double_dtype)
                values[node] = _try_call(call or plain, node, args, kwargs)
            elif node.op == "get_attr":
                values[node] = double(getattr(captured.graph, str(node.target)))
            for dead in last.get(node, ()):
                values.pop(dead, None)
    raise AssertionError("a graph without an output")


def _try_call(call: Call, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call an operator.

    Raises:
        UnsupportedError: it does not run in float64.
    """
    try:
        return call(node, args, kwargs)
    except Exception as error:
        raise UnsupportedError(f"{describe_call(node)} does not run in float64, as the proof needs: {readable(error)}"
                               ) from error


def fetch(node: fx.Node, captured: Captured, flow: Flow, stored: dict[str, Tensor], change: Change,
          values: dict[fx.Node, Any]) -> None:
    """Bring the placeholders that a call needs into ``values``."""
    for source in node.all_input_nodes:
        if source.op == "placeholder" and source not in values:
            kind, what = captured.sources[str(source.target)]
            if kind in ("parameter", "buffer"):
                value = change(flow.names[what], stored[what])
                values[source] = value.clone() if value.data_ptr() == stored[what].data_ptr() else value
            else:
                values[source] = own(what if kind == "constant" else captured.leaves[what])


def _last_uses(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """For each node, the nodes that nothing after it uses."""
    seen: set[fx.Node] = set()
    last: dict[fx.Node, list[fx.Node]] = {}
    for node in reversed(list(graph.nodes)):
        for source in node.all_input_nodes:
            if source not in seen:
                seen.add(source)
                last.setdefault(node, []).append(source)
    return last


def flatten(value: Any) -> list[Any]:
    """Nested lists and tuples as one list."""
    return [f for v in value for f in flatten(v)] if isinstance(value, (list, tuple)) else [value]


def plain(node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the operator."""
    return call_operator(node.target, base_name(node), args, kwargs)  # type: ignore[arg-type]
