"""One exported node to one operator of a plan, or the reason why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import fx

from secateur.runtime.ops import Op, Value

aten = torch.ops.aten
Values = Callable[[fx.Node], Value]


class Refused(Exception):  # noqa: N818
    """Why a node stays torch."""


def lower(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """The operator that a node becomes.

    Raises:
        Refused: no kernel takes this node, with the reason.
    """
    if node.op != "call_function" or node.target not in LOWER:
        raise Refused("no kernel for this operator")
    return LOWER[node.target](module, node, value)


def origin(node: fx.Node) -> str:
    """The module of the network that a node came from."""
    stack = node.meta.get("nn_module_stack") or {}
    names = [path for path, _ in stack.values() if path]
    return names[-1] if names else node.name


def constant(module: fx.GraphModule, node: Any, what: str) -> np.ndarray[Any, Any] | None:
    """The array of a parameter or buffer, or None."""
    if node is None:
        return None
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        raise Refused(f"its {what} is computed, not fixed")
    tensor: Any = module
    for part in str(node.target).split("."):
        tensor = getattr(tensor, part)
    if tensor.dtype != torch.float32:
        raise Refused(f"its {what} is {tensor.dtype}")
    return np.ascontiguousarray(tensor.detach().numpy())


def argument(node: fx.Node, index: int, name: str, default: Any = None) -> Any:
    """An argument by place or name."""
    return node.args[index] if len(node.args) > index else node.kwargs.get(name, default)


def linear(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.linear``."""
    source, output = value(node.args[0]), value(node)  # type: ignore[arg-type]
    if len(source.shape) != 1:
        raise Refused("its input has more axes than batch and features")
    weight = constant(module, node.args[1], "weight")
    return Op("linear", origin(node), (source,), output, weight, constant(module, argument(node, 2, "bias"), "bias"))


def act(name: str) -> Callable[[fx.GraphModule, fx.Node, Values], Op]:
    """An element-wise function without settings."""

    def make(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
        del module
        return Op("act", origin(node), (value(node.args[0]),), value(node), act=name)  # type: ignore[arg-type]

    return make


def leaky(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.leaky_relu``, with its slope."""
    return act(f"leaky_relu:{float(argument(node, 1, 'negative_slope', 0.01))!r}")(module, node, value)


def gelu(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.gelu``, exact or by tanh."""
    return act("gelu_tanh" if argument(node, 1, "approximate", "none") == "tanh" else "gelu")(module, node, value)


def hardtanh(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.hardtanh`` with the bounds of ReLU6."""
    if (argument(node, 1, "min_val", -1), argument(node, 2, "max_val", 1)) != (0.0, 6.0):
        raise Refused("no kernel for hardtanh with other bounds than those of ReLU6")
    return act("relu6")(module, node, value)


def add(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.add`` of two values of the same shape."""
    del module
    sources = node.args[:2]
    if len(sources) != 2 or not all(isinstance(a, fx.Node) for a in sources) or argument(node, 2, "alpha", 1) != 1:
        raise Refused("it adds a number, or a multiple")
    first, second = (value(a) for a in sources)  # type: ignore[arg-type]
    if first.shape != second.shape:
        raise Refused("it adds values of different shapes")
    return Op("add", origin(node), (first, second), value(node))


def alias(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """Operators that change nothing, or only the shape of each row of the batch."""
    del module
    source, output = value(node.args[0]), value(node)  # type: ignore[arg-type]
    if source.size != output.size:
        raise Refused("it changes the count of features")
    return Op("alias", origin(node), (source,), output)


LOWER: dict[Any, Callable[[fx.GraphModule, fx.Node, Values], Op]] = {
    aten.linear.default: linear,
    aten.relu.default: act("relu"),
    aten.relu_.default: act("relu"),
    aten.relu6.default: act("relu6"),
    aten.leaky_relu.default: leaky,
    aten.leaky_relu_.default: leaky,
    aten.sigmoid.default: act("sigmoid"),
    aten.tanh.default: act("tanh"),
    aten.gelu.default: gelu,
    aten.silu.default: act("silu"),
    aten.silu_.default: act("silu"),
    aten.hardswish.default: act("hardswish"),
    aten.hardswish_.default: act("hardswish"),
    aten.hardsigmoid.default: act("hardsigmoid"),
    aten.hardtanh.default: hardtanh,
    aten.hardtanh_.default: hardtanh,
    aten.add.Tensor: add,
    aten.add_.Tensor: add,
    aten.flatten.using_ints: alias,
    aten.view.default: alias,
    aten.reshape.default: alias,
    aten.unflatten.int: alias,
    aten.contiguous.default: alias,
    aten.clone.default: alias,
    aten.detach.default: alias,
    aten.dropout.default: alias,
    aten.squeeze.dims: alias,
    aten.unsqueeze.default: alias,
}
