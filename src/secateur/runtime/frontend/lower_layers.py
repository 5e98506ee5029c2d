"""Layers, norms and pooling: one exported node to one operator of a plan, or the reason why not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import fx

from secateur.runtime.frontend.node import Refused, Rule, Values, argument, constant, origin
from secateur.runtime.ops import Op
from secateur.runtime.schedule.candidates import MOST_COLUMNS


def linear(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.linear``."""
    weight = constant(module, node.args[1], "weight")
    return product(node, value, weight, constant(module, argument(node, 2, "bias"), "bias"))


def matmul(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.matmul`` and ``aten.mm`` with a fixed matrix on the right."""
    weight = constant(module, node.args[1], "right side")
    assert weight is not None
    return product(node, value, np.ascontiguousarray(weight.T))


def addmm(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.addmm`` with a fixed bias and a fixed matrix on the right."""
    bias, weight = constant(module, node.args[0], "bias"), constant(module, node.args[2], "right side")
    assert weight is not None
    if bias is None or bias.ndim != 1 or argument(node, 3, "beta", 1) != 1 or argument(node, 4, "alpha", 1) != 1:
        raise Refused("it scales, or adds more than a bias")
    return product(node, value, np.ascontiguousarray(weight.T), bias, 1)


def product(node: fx.Node, value: Values, weight: NDArray[np.float32] | None, bias: NDArray[np.float32] | None = None,
            source: int = 0) -> Op:
    """A product with a weight ``(outputs, inputs)``, for every row of the leading axes."""
    if weight is None or weight.ndim != 2:
        raise Refused("its weight is no matrix")
    given = value(node.args[source])  # type: ignore[arg-type]
    if given.size > MOST_COLUMNS:
        raise Refused(f"it has more than {MOST_COLUMNS} inputs")
    return Op("linear", origin(node), (given,), value(node), weight, bias)


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
    settings = {"stride": pair(argument(node, 3, "stride"), 1, axes),
                "dilation": pair(argument(node, 5, "dilation"), 1, axes), "groups": argument(node, 6, "groups", 1)}
    settings["padding"] = _worded(padding, weight, settings) if isinstance(padding, str) else pair(padding, 0, axes)
    settings["positions"] = output.size // output.shape[0]
    rows, columns = (1, *source.shape[1:])[-2:]
    if (rows + 2 * settings["padding"][0]) * (columns + 2 * settings["padding"][1]) > MOST_COLUMNS:
        raise Refused(f"a padded plane has more than {MOST_COLUMNS} positions")
    bias = constant(module, argument(node, 2, "bias"), "bias")
    return Op("conv", origin(node), (source,), output, weight, bias, settings=settings)


def _worded(word: str, weight: NDArray[np.float32], settings: dict[str, Any]) -> tuple[int, int]:
    window = (1, *weight.shape[2:])[-2:]
    reach = [(k - 1) * d for k, d in zip(window, settings["dilation"], strict=True)]
    if word == "valid":
        return (0, 0)
    if any(r % 2 for r in reach):
        raise Refused("its padding 'same' is wider on one side")
    return reach[0] // 2, reach[1] // 2


def conv3d(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.conv3d``: refused."""
    del module, node, value
    raise Refused("no kernel for convolutions over three axes")


def batch_norm(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.batch_norm`` in evaluation: folded into the layer before it, or by itself."""
    if argument(node, 5, "training"):
        raise Refused("it is in training mode")
    source = value(node.args[0])  # type: ignore[arg-type]
    scale, shift, mean, variance = (constant(module, argument(node, k, ""), "statistics") for k in (1, 2, 3, 4))
    if mean is None or variance is None:
        raise Refused("it keeps no statistics")
    factor = (1 if scale is None else scale) / np.sqrt(variance.astype(np.float64) + argument(node, 7, "eps"))
    offset = (0 if shift is None else shift) - mean * factor
    return Op("affine", origin(node), (source,), value(node), settings={"factor": factor, "offset": offset})


def layer_norm(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.layer_norm`` over the last axes."""
    scale, shift = (constant(module, argument(node, k, n), n) for k, n in ((2, "weight"), (3, "bias")))
    eps = float(argument(node, 4, "eps", 1e-5))
    settings = {"scale": None if scale is None else scale.reshape(-1), "eps": eps,
                "shift": None if shift is None else shift.reshape(-1)}
    return Op("norm", origin(node), (value(node.args[0]),), value(node), settings=settings)  # type: ignore[arg-type]


def softmax(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.softmax`` along the last axis."""
    del module
    source = value(node.args[0])  # type: ignore[arg-type]
    if len(source.shape) != 1:
        raise Refused("it is taken along another axis than the last")
    return Op("softmax", origin(node), (source,), value(node))


def pool(kind: str, axes: int = 2) -> Rule:
    """``aten.max_pool`` and ``aten.avg_pool`` over one or two axes."""

    def make(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
        del module
        window = pair(argument(node, 1, "kernel_size"), 1, axes)
        stride = pair(argument(node, 2, "stride") or list(window)[-axes:], 1, axes)
        if kind == "max" and pair(argument(node, 4, "dilation", 1), 1, axes) != (1, 1):
            raise Refused("it is dilated")
        settings = {"kind": kind, "window": window, "stride": stride,
                    "padding": pair(argument(node, 3, "padding"), 0, axes),
                    "with_padding": kind == "avg" and argument(node, 5, "count_include_pad", True),
                    "divisor": (argument(node, 6, "divisor_override") or 0) if kind == "avg" else 0}
        return _pooled(node, value, settings, axes)

    return make


def _pooled(node: fx.Node, value: Values, settings: dict[str, Any], axes: int = 2) -> Op:
    source = value(node.args[0])  # type: ignore[arg-type]
    if len(source.shape) != axes + 1:
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
    axes = {a % (len(source.shape) + 1) for a in node.args[1] or ()}  # type: ignore[union-attr,operator]
    if len(source.shape) != 3 or axes != {2, 3}:
        raise Refused("it averages over other axes than the planes'")
    return _pooled(node, value, _windows((source.shape[1], source.shape[2])))


def _windows(size: tuple[int, int]) -> dict[str, Any]:
    return {"kind": "avg", "window": size, "stride": size, "padding": (0, 0), "with_padding": False}
