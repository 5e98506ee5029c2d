"""Element-wise operators, joins and changes of shape: one exported node to one operator, or the reason why not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import fx

from secateur.runtime.frontend.node import Refused, Rule, Values, argument, constant, is_constant, origin
from secateur.runtime.ops import Op, Value


def act(name: str) -> Rule:
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


def binary(kind: str) -> Rule:
    """Addition, subtraction, multiplication or division of two values, or of a value and something fixed."""

    def make(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
        sides = node.args[:2]
        if argument(node, 2, "alpha", 1) != 1 or node.kwargs.get("rounding_mode"):
            raise Refused("it adds a multiple, or rounds")
        if sum(_fixed(side) for side in sides) == 1:
            return _affine(kind, module, node, value)
        if kind == "rsub" or any(_fixed(side) or not isinstance(side, fx.Node) for side in sides):
            raise Refused("it does not join two values, or one and something fixed")
        first, second = (value(side) for side in sides)  # type: ignore[arg-type]
        output = value(node)
        if {first.shape, second.shape} - {output.shape} and not _broad(first, second, output):
            raise Refused("its values are of different shapes")
        return Op(kind, origin(node), (first, second), output)

    return make


def _fixed(side: Any) -> bool:
    return isinstance(side, (int, float)) or is_constant(side)


def _broad(first: Value, second: Value, output: Value) -> bool:
    """Whether one is a whole value as planes and the other has one number a plane."""
    return len(output.shape) == 3 and all(v.shape in (output.shape, (output.shape[0], 1, 1)) for v in (first, second))


def _affine(kind: str, module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    left = _fixed(node.args[0])
    source = value(node.args[1 if left else 0])  # type: ignore[arg-type]
    if left and kind == "div":
        raise Refused("it divides by a value")
    output = value(node)
    if output.shape != source.shape:
        raise Refused("it makes its value larger")
    number = _planes(module, node.args[0 if left else 1], source)
    with np.errstate(divide="ignore"):
        one, none = np.ones_like(number), np.zeros_like(number)
        factor, offset = {"add": (one, number), "sub": (-one, number) if left else (one, -number),
                          "rsub": (-one, number), "mul": (number, none), "div": (1 / number, none)}[kind]
    settings = {"factor": factor, "offset": offset}
    return Op("affine", origin(node), (source,), output, settings=settings)


def _planes(module: fx.GraphModule, side: Any, source: Value) -> NDArray[np.float64]:
    """Something fixed as one number for each entry of the first axis behind the rows."""
    held = np.float32(side) if isinstance(side, (int, float)) else constant(module, side, "constant")
    array = np.asarray(held, np.float64)
    if array.ndim > len(source.shape) and set(array.shape[:-len(source.shape)]) != {1}:
        raise Refused("its constant differs from row to row")
    array = array.reshape((1,) * (len(source.shape) - array.ndim) + array.shape[-len(source.shape):])
    if array.shape[0] not in (1, source.shape[0]) or any(size != 1 for size in array.shape[1:]):
        raise Refused("its constant differs along other axes than the first behind the rows")
    return np.broadcast_to(array.reshape(-1), source.shape[:1]).copy()


def negative(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.neg``."""
    del module
    source = value(node.args[0])  # type: ignore[arg-type]
    ones = np.ones(source.shape[0])
    return Op("affine", origin(node), (source,), value(node), settings={"factor": -ones, "offset": -0.0 * ones})


def concat(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.cat`` along the first axis behind the rows."""
    del module
    sources = [value(a) for a in node.args[0]]  # type: ignore[union-attr,arg-type]
    return Op("concat", origin(node), tuple(sources), value(node))


def alias(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """Operators that change nothing, or only the shape of each row."""
    del module
    source, output = value(node.args[0]), value(node)  # type: ignore[arg-type]
    if source.size != output.size:
        raise Refused("it changes the count of features")
    return Op("alias", origin(node), (source,), output)


def dropout(module: fx.GraphModule, node: fx.Node, value: Values) -> Op:
    """``aten.dropout`` in evaluation."""
    if argument(node, 2, "train"):
        raise Refused("it is in training mode")
    return alias(module, node, value)
