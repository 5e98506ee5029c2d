"""One exported node to one operator of a plan, or the reason why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import fx

from secateur.runtime.candidates import MOST_COLUMNS
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
    if source.size > MOST_COLUMNS:
        raise Refused(f"it has more than {MOST_COLUMNS} inputs")
    weight = constant(module, node.args[1], "weight")
    return Op("linear", origin(node), (source,), output, weight, constant(module, argument(node, 2, "bias"), "bias"))


def pair(value: Any, default: int, axes: int) -> tuple[int, int]:
    """A setting of one or two axes as rows and columns."""
    items = [value] if isinstance(value, int) else list(value or [default])
    items = items * axes if len(items) == 1 else items
    return (items[0], items[1]) if axes == 2 else ({1: 1, 0: 0}[default], items[0])


def conv(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.conv1d`` and ``aten.conv2d``."""
    source, output = value(node.args[0]), value(node)  # type: ignore[arg-type]
    weight = constant(module, node.args[1], "weight")
    assert weight is not None
    axes = weight.ndim - 2
    if len(source.shape) != axes + 1:
        raise Refused("its input has no batch axis")
    padding = argument(node, 4, "padding", 0)
    if isinstance(padding, str):
        raise Refused("its padding is given by a word")
    settings = {"stride": pair(argument(node, 3, "stride"), 1, axes), "padding": pair(padding, 0, axes),
                "dilation": pair(argument(node, 5, "dilation"), 1, axes), "groups": argument(node, 6, "groups", 1)}
    settings["positions"] = output.size // output.shape[0]
    rows, columns = (1, *source.shape[1:])[-2:]
    if (rows + 2 * settings["padding"][0]) * (columns + 2 * settings["padding"][1]) > MOST_COLUMNS:
        raise Refused(f"a padded plane has more than {MOST_COLUMNS} positions")
    bias = constant(module, argument(node, 2, "bias"), "bias")
    return Op("conv", origin(node), (source,), output, weight, bias, settings=settings)


def batch_norm(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.batch_norm`` in evaluation, behind a layer that it is folded into."""
    before = node.args[0]
    assert isinstance(before, fx.Node)
    if argument(node, 5, "training") or len(before.users) > 1 or LOWER.get(before.target) not in (conv, linear):
        raise Refused("there is no layer before it that it can be folded into")
    scale, shift, mean, variance = (constant(module, argument(node, k, ""), "statistics") for k in (1, 2, 3, 4))
    assert mean is not None
    assert variance is not None
    factor = (1 if scale is None else scale) / np.sqrt(variance.astype(np.float64) + argument(node, 7, "eps"))
    offset = (0 if shift is None else shift) - mean * factor
    return Op("affine", origin(node), (value(before),), value(node), settings={"factor": factor, "offset": offset})


def pool(kind: str) -> Callable[[fx.GraphModule, fx.Node, Values], Op]:
    """``aten.max_pool2d`` and ``aten.avg_pool2d``."""

    def make(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
        del module
        window = pair(argument(node, 1, "kernel_size"), 1, 2)
        stride = pair(argument(node, 2, "stride") or window, 1, 2)
        ceil = argument(node, 5 if kind == "max" else 4, "ceil_mode", False)
        odd = argument(node, 4, "dilation", 1) if kind == "max" else argument(node, 6, "divisor_override") or 1
        if ceil or pair(odd, 1, 2) != (1, 1):
            raise Refused("it rounds up, is dilated, or divides by a number of its own")
        settings = {"kind": kind, "window": window, "stride": stride,
                    "padding": pair(argument(node, 3, "padding"), 0, 2),
                    "with_padding": kind == "avg" and argument(node, 5, "count_include_pad", True)}
        return _pooled(node, value, settings)

    return make


def _pooled(node: fx.Node, value: Values, settings: dict[str, Any]) -> Op:
    source = value(node.args[0])  # type: ignore[arg-type]
    if len(source.shape) != 3:
        raise Refused("its input has no batch axis")
    return Op("pool", origin(node), (source,), value(node), settings=settings)


def adaptive(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.adaptive_avg_pool2d`` where windows are equal and do not overlap."""
    del module
    rows, columns = value(node.args[0]).shape[-2:]  # type: ignore[arg-type]
    out = value(node).shape[-2:]
    if rows % out[0] or columns % out[1]:
        raise Refused("its windows are of different sizes")
    return _pooled(node, value, _windows((rows // out[0], columns // out[1])))


def mean(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.mean`` over the two last axes of planes."""
    del module
    source = value(node.args[0])  # type: ignore[arg-type]
    axes = {a % (len(source.shape) + 1) for a in node.args[1]}  # type: ignore[union-attr,operator]
    if len(source.shape) != 3 or axes != {2, 3}:
        raise Refused("it averages over other axes than the planes'")
    return _pooled(node, value, _windows((source.shape[1], source.shape[2])))


def _windows(size: tuple[int, int]) -> dict[str, Any]:
    return {"kind": "avg", "window": size, "stride": size, "padding": (0, 0), "with_padding": False}


def concat(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.cat`` along the channels."""
    del module
    sources = [value(a) for a in node.args[0]]  # type: ignore[union-attr,arg-type]
    if argument(node, 1, "dim", 0) % (len(sources[0].shape) + 1) != 1:
        raise Refused("it joins along another axis than the channels")
    return Op("concat", origin(node), tuple(sources), value(node))


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
    aten.conv1d.default: conv,
    aten.conv2d.default: conv,
    aten.batch_norm.default: batch_norm,
    aten.max_pool2d.default: pool("max"),
    aten.avg_pool2d.default: pool("avg"),
    aten.adaptive_avg_pool2d.default: adaptive,
    aten.mean.dim: mean,
    aten.cat.default: concat,
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
