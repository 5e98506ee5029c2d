"""Which rule lowers which operator, and how many of a tensor's first axes are its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from secateur.runtime.frontend.lower_layers import (
    adaptive,
    addmm,
    batch_norm,
    conv,
    conv3d,
    layer_norm,
    linear,
    matmul,
    mean,
    pool,
    softmax,
)
from secateur.runtime.frontend.lower_simple import act, alias, binary, concat, dropout, gelu, hardtanh, leaky, negative
from secateur.runtime.frontend.node import Refused, Rule, Values, argument, axes_of
from secateur.runtime.ops import Op

__all__ = ["LOWER", "Refused", "lower", "rows_of"]

aten = torch.ops.aten


def lower(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """The operator that a node becomes.

    Raises:
        Refused: no kernel takes this node, with the reason.
    """
    if node.op != "call_function" or node.target not in LOWER:
        raise Refused("no kernel for this operator")
    return LOWER[node.target](module, node, value)


def rows_of(node: fx.Node) -> int | None:
    """How many first axes of a node's tensors are rows to its operator; None where it does not matter."""
    rule = ROWS.get(node.target)
    return None if rule is None else rule(node)


def _one(node: fx.Node) -> int:
    """The batch alone."""
    del node
    return 1


def _all_but_last(node: fx.Node) -> int:
    """All axes but the features."""
    return axes_of(node) - 1


def _before_norm(node: fx.Node) -> int:
    return axes_of(node) - len(node.args[1])  # type: ignore[arg-type]


def _before_softmax(node: fx.Node) -> int:
    axes = axes_of(node)
    return argument(node, 1, "dim") % axes if axes else 0


def _before_join(node: fx.Node) -> int:
    return argument(node, 1, "dim", 0) % axes_of(node)


ROWS: dict[Any, Callable[[fx.Node], int]] = {
    aten.linear.default: _all_but_last,
    aten.matmul.default: _all_but_last,
    aten.mm.default: _all_but_last,
    aten.addmm.default: _all_but_last,
    aten.conv1d.default: _one,
    aten.conv2d.default: _one,
    aten.batch_norm.default: _one,
    aten.layer_norm.default: _before_norm,
    aten.softmax.int: _before_softmax,
    aten.max_pool1d.default: _one,
    aten.max_pool2d.default: _one,
    aten.avg_pool1d.default: _one,
    aten.avg_pool2d.default: _one,
    aten.adaptive_avg_pool2d.default: _one,
    aten.mean.dim: _one,
    aten.cat.default: _before_join,
}

LOWER: dict[Any, Rule] = {
    aten.linear.default: linear,
    aten.matmul.default: matmul,
    aten.mm.default: matmul,
    aten.addmm.default: addmm,
    aten.conv1d.default: conv,
    aten.conv2d.default: conv,
    aten.conv1d.padding: conv,
    aten.conv2d.padding: conv,
    aten.conv3d.default: conv3d,
    aten.batch_norm.default: batch_norm,
    aten.layer_norm.default: layer_norm,
    aten.softmax.int: softmax,
    aten.max_pool1d.default: pool("max", 1),
    aten.max_pool2d.default: pool("max"),
    aten.avg_pool1d.default: pool("avg", 1),
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
    aten.sigmoid_.default: act("sigmoid"),
    aten.tanh.default: act("tanh"),
    aten.tanh_.default: act("tanh"),
    aten.gelu.default: gelu,
    aten.silu.default: act("silu"),
    aten.silu_.default: act("silu"),
    aten.hardswish.default: act("hardswish"),
    aten.hardswish_.default: act("hardswish"),
    aten.hardsigmoid.default: act("hardsigmoid"),
    aten.hardtanh.default: hardtanh,
    aten.hardtanh_.default: hardtanh,
    aten.add.Tensor: binary("add"),
    aten.add_.Tensor: binary("add"),
    aten.sub.Tensor: binary("sub"),
    aten.sub_.Tensor: binary("sub"),
    aten.rsub.Scalar: binary("rsub"),
    aten.rsub.Tensor: binary("rsub"),
    aten.mul.Tensor: binary("mul"),
    aten.mul_.Tensor: binary("mul"),
    aten.div.Tensor: binary("div"),
    aten.div_.Tensor: binary("div"),
    aten.neg.default: negative,
    aten.flatten.using_ints: alias,
    aten.view.default: alias,
    aten.reshape.default: alias,
    aten.unflatten.int: alias,
    aten.contiguous.default: alias,
    aten.clone.default: alias,
    aten.detach.default: alias,
    aten.dropout.default: dropout,
    aten.dropout_.default: dropout,
    aten.squeeze.dims: alias,
    aten.squeeze.dim: alias,
    aten.unsqueeze.default: alias,
}
ROWS |= {aten.conv1d.padding: _one, aten.conv2d.padding: _one}
