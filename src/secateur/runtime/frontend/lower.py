"""Which rule lowers which torch operator, and how many of a tensor's first axes are its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from secateur.runtime.frontend import lower_layers as layers
from secateur.runtime.frontend import lower_simple as simple
from secateur.runtime.frontend.node import ExportedCall, Refused, Rule, Values, argument, axes_of
from secateur.runtime.ops import Op

__all__ = ["Refused", "lower", "rows_of"]

Rows = Callable[[fx.Node], int]
aten = torch.ops.aten


def lower(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """The operator that a node becomes.

    Raises:
        Refused: no kernel takes this node, with the reason.
    """
    if node.op != "call_function" or node.target not in _RULES:
        raise Refused("no kernel for this operator")
    return _RULES[node.target](ExportedCall(module, node, value))


def rows_of(node: fx.Node) -> int | None:
    """How many first axes of a node's tensors are rows to its operator; None where it does not matter."""
    rule = _ROWS.get(node.target)
    return None if rule is None else rule(node)


def _before_softmax(node: fx.Node) -> int:
    axes = axes_of(node)
    return argument(node, 1, "dim") % axes if axes else 0


def _all_but_last(node: fx.Node) -> int:
    """All axes but the features."""
    return axes_of(node) - 1


def _batch(node: fx.Node) -> int:
    del node
    return 1


_BY_ROWS: dict[Any, tuple[Rule, Rows]] = {
    aten.linear.default: (layers.linear, _all_but_last),
    aten.matmul.default: (layers.matmul, _all_but_last),
    aten.mm.default: (layers.matmul, _all_but_last),
    aten.addmm.default: (layers.addmm, _all_but_last),
    aten.conv1d.default: (layers.conv, _batch),
    aten.conv2d.default: (layers.conv, _batch),
    aten.conv1d.padding: (layers.conv, _batch),
    aten.conv2d.padding: (layers.conv, _batch),
    aten.batch_norm.default: (layers.batch_norm, _batch),
    aten.layer_norm.default: (layers.layer_norm, lambda node: axes_of(node) - len(node.args[1])),  # type: ignore[arg-type]
    aten.softmax.int: (layers.softmax, _before_softmax),
    aten.max_pool1d.default: (layers.pool("max", 1), _batch),
    aten.max_pool2d.default: (layers.pool("max"), _batch),
    aten.avg_pool1d.default: (layers.pool("avg", 1), _batch),
    aten.avg_pool2d.default: (layers.pool("avg"), _batch),
    aten.adaptive_avg_pool2d.default: (layers.adaptive, _batch),
    aten.mean.dim: (layers.mean, _batch),
    aten.cat.default: (simple.concat, lambda node: argument(node, 1, "dim", 0) % axes_of(node)),
}
"""The rules of operators that fix which axes are rows."""

_ELEMENTWISE: dict[str, Rule] = {
    **{name: simple.act(name) for name in ("relu", "relu6", "sigmoid", "tanh", "silu", "hardswish", "hardsigmoid")},
    **{name: simple.binary(name) for name in ("add", "sub", "mul", "div")},
    "leaky_relu": simple.leaky, "gelu": simple.gelu, "hardtanh": simple.hardtanh, "dropout": simple.dropout,
}
"""The rules of element-wise operators, each of which has a form that writes in place."""


def _overload(name: str) -> Any:
    """The overload of an operator that takes one tensor, or two."""
    packet = getattr(aten, name)
    return packet.Tensor if "Tensor" in packet.overloads() else packet.default


_ROWS = {target: rows for target, (_, rows) in _BY_ROWS.items()}
_RULES: dict[Any, Rule] = {
    **{target: rule for target, (rule, _) in _BY_ROWS.items()},
    **{_overload(form): rule for name, rule in _ELEMENTWISE.items() for form in (name, f"{name}_")},
    aten.conv3d.default: layers.conv3d,
    aten.rsub.Scalar: simple.binary("rsub"),
    aten.rsub.Tensor: simple.binary("rsub"),
    aten.neg.default: simple.negative,
    **dict.fromkeys((
        aten.flatten.using_ints, aten.view.default, aten.reshape.default, aten.unflatten.int, aten.contiguous.default,
        aten.clone.default, aten.detach.default, aten.squeeze.dims, aten.squeeze.dim, aten.unsqueeze.default),
        simple.alias),
}
