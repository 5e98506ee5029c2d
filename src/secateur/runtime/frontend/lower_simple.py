"""Element-wise operators, joins and changes of shape: one exported node to one operator, or the reason why not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import fx

from secateur.runtime.frontend.node import ExportedCall, Refused, Rule, constant, is_constant
from secateur.runtime.ops import Op, Value


def act(name: str) -> Rule:
    """The rule of an element-wise function without settings."""
    return lambda call: call.op("act", act=name)


def leaky(call: ExportedCall) -> Op:
    """``aten.leaky_relu``, with its slope."""
    return call.op("act", act=f"leaky_relu:{float(call.argument(1, 'negative_slope', 0.01))!r}")


def gelu(call: ExportedCall) -> Op:
    """``aten.gelu``, exact or by tanh."""
    return call.op("act", act="gelu_tanh" if call.argument(1, "approximate", "none") == "tanh" else "gelu")


def hardtanh(call: ExportedCall) -> Op:
    """``aten.hardtanh`` with the bounds of ReLU6."""
    if (call.argument(1, "min_val", -1), call.argument(2, "max_val", 1)) != (0.0, 6.0):
        raise Refused("no kernel for hardtanh with other bounds than those of ReLU6")
    return call.op("act", act="relu6")


def binary(kind: str) -> Rule:
    """The rule of a sum, difference, product or quotient of two values, or of a value and something fixed."""

    def lower(call: ExportedCall) -> Op:
        sides = call.node.args[:2]
        if call.argument(2, "alpha", 1) != 1 or call.node.kwargs.get("rounding_mode"):
            raise Refused("it uses alpha= or rounding_mode=")
        if sum(_is_fixed(side) for side in sides) == 1:
            return _affine(kind, call)
        if kind == "rsub" or any(_is_fixed(side) or not isinstance(side, fx.Node) for side in sides):
            raise Refused("it does not join two values, or one and something fixed")
        op = call.op(kind, *map(call.value, sides))
        if {v.shape for v in op.inputs} - {op.output.shape} and not _is_value_by_plane(op):
            raise Refused("its values are of different shapes")
        return op

    return lower


def _is_fixed(side: Any) -> bool:
    return isinstance(side, (int, float)) or is_constant(side)


def _is_value_by_plane(op: Op) -> bool:
    """Whether one input is a whole value as planes and the other has one number a plane."""
    shape = op.output.shape
    return len(shape) == 3 and all(v.shape in (shape, (shape[0], 1, 1)) for v in op.inputs)


def _affine(kind: str, call: ExportedCall) -> Op:
    """A value and something fixed as a factor and an offset for each plane."""
    left = _is_fixed(call.node.args[0])
    source = call.value(call.node.args[1 if left else 0])
    if left and kind == "div":
        raise Refused("it divides by a value")
    op = call.op("affine", source)
    if op.output.shape != source.shape:
        raise Refused("it makes its value larger")
    number = _by_plane(call.module, call.node.args[0 if left else 1], source)
    with np.errstate(divide="ignore"):
        one, none = np.ones_like(number), np.zeros_like(number)
        factor, offset = {"add": (one, number), "sub": (-one, number) if left else (one, -number),
                          "rsub": (-one, number), "mul": (number, none), "div": (1 / number, none)}[kind]
    return replace(op, settings={"factor": factor, "offset": offset})


def _by_plane(module: fx.GraphModule, side: Any, source: Value) -> NDArray[np.float64]:
    """Something fixed as one number for each entry of the first axis behind the rows."""
    fixed = np.float32(side) if isinstance(side, (int, float)) else constant(module, side, "constant")
    array = np.asarray(fixed, np.float64)
    if array.ndim > len(source.shape) and set(array.shape[:-len(source.shape)]) != {1}:
        raise Refused("its constant varies along the batch axis")
    array = array.reshape((1,) * (len(source.shape) - array.ndim) + array.shape[-len(source.shape):])
    if array.shape[0] not in (1, source.shape[0]) or any(size != 1 for size in array.shape[1:]):
        raise Refused("its constant varies along other axes than the first one after the batch axis")
    return np.broadcast_to(array.reshape(-1), source.shape[:1]).copy()


def negative(call: ExportedCall) -> Op:
    """``aten.neg``."""
    ones = np.ones(call.source.shape[0])
    # The offset is -0.0, as -0.0 + 0.0 is 0.0 and would lose the sign of a negated zero.
    return call.op("affine", settings={"factor": -ones, "offset": -0.0 * ones})


def concat(call: ExportedCall) -> Op:
    """``aten.cat`` along the first axis behind the rows."""
    return call.op("concat", *map(call.value, call.node.args[0]))  # type: ignore[arg-type]


def alias(call: ExportedCall) -> Op:
    """Operators that change nothing, or only the shape of each row."""
    op = call.op("alias")
    if op.inputs[0].size != op.output.size:
        raise Refused("it changes the number of features")
    return op


def dropout(call: ExportedCall) -> Op:
    """``aten.dropout`` in evaluation."""
    if call.argument(2, "train"):
        raise Refused("it is in training mode")
    return alias(call)
