"""Int8 layers in ONNX: their inputs, weights and biases between QuantizeLinear and DequantizeLinear.

Runtimes take a product of dequantised tensors for one of integers: ONNX Runtime's QGemm, QLinearConv and
MatMulIntegerToFloat, OpenVINO's low-precision kernels. Scales, zero points, codes and int32 biases are the layers' own;
nothing is calibrated anew (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from secateur.core.errors import SecateurError
from secateur.quantization.layers.base import Int8Layer, Int8Product

_NO_FORM = "which has no form there: quantise with static ranges, or export to pt2"
_FOLDED: dict[str, Callable[..., Any]] = {"Mul": np.multiply, "Transpose": lambda x: np.ascontiguousarray(x.T)}


def check_static(model: nn.Module, to: str) -> None:
    """Refuse int8 layers that have no such form: those with a range for each call, and recurrent ones.

    Raises:
        SecateurError: the network has one.
    """
    for name, module in model.named_modules():
        if not isinstance(module, Int8Layer) or not module.reads_codes:
            continue
        if not isinstance(module, Int8Product):
            raise SecateurError(f"export to {to}: layer '{name}' is a recurrent one in int8, which has no form there: "
                                f"quantise with keep=['{name}'], or export to pt2")
        if module.input_scale is None:
            raise SecateurError(f"export to {to}: layer '{name}' takes a range for each call (activations='dynamic'), "
                                f"{_NO_FORM}")


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """For torch's exporter: what stands for the products of int8 layers."""
    return {torch.ops.secateur.int8_linear.default: _linear, torch.ops.secateur.int8_conv.default: _conv}


def _linear(x: Any, codes: Any, scale: Any, bias: Any, input_scale: Any, input_zero: Any) -> Any:
    """Gemm of a matrix; MatMul, whose weight is the other way round, of more axes, and the bias added to it."""
    op, given, b = _opset(), _rounded(x, input_scale, input_zero), _bias(bias, input_scale, scale)
    if len(x.shape) == 2:
        return _typed(op.Gemm(given, _weight(codes, scale), *([] if b is None else [b]), transB=1), x)
    sums = op.MatMul(given, _weight(op.Transpose(codes, perm=[1, 0]), scale, axis=1))
    return _typed(sums if b is None else op.Add(sums, b), x)


def _conv(x: Any, codes: Any, scale: Any, bias: Any, input_scale: Any, input_zero: Any, stride: Sequence[int],
          padding: Sequence[int], dilation: Sequence[int], groups: int) -> Any:
    """Conv."""
    op, b = _opset(), _bias(bias, input_scale, scale)
    parts = [_rounded(x, input_scale, input_zero), _weight(codes, scale), *([] if b is None else [b])]
    return _typed(op.Conv(*parts, strides=[*stride], pads=[*padding, *padding], dilations=[*dilation], group=groups), x)


def _rounded(x: Any, scale: Any, zero: Any) -> Any:
    """The values that the codes of inputs stand for."""
    if scale is None:
        raise SecateurError(f"an int8 layer takes a range for each call (activations='dynamic'), {_NO_FORM}")
    op = _opset()
    whole = x if x.dtype == _float() else op.Cast(x, to=int(_float()))
    return op.DequantizeLinear(op.QuantizeLinear(whole, scale, zero), scale, zero)


def _bias(bias: Any, input_scale: Any, scale: Any) -> Any:
    """An int32 bias in units of the sums of products."""
    op = _opset()
    return None if bias is None else op.DequantizeLinear(bias, op.Mul(input_scale, scale), axis=0)


def _typed(y: Any, x: Any) -> Any:
    """Outputs in the type of the inputs."""
    return y if x.dtype == _float() else _opset().Cast(y, to=int(x.dtype))


def _weight(codes: Any, scale: Any, axis: int = 0) -> Any:
    """The weight that codes stand for, with the zero points that ONNX Runtime's fusions ask for."""
    import onnx

    zero = _opset().Constant(value=onnx.numpy_helper.from_array(np.zeros(scale.shape[0], np.int8)))
    return _opset().DequantizeLinear(codes, scale, zero, axis=axis)


def _opset() -> Any:
    import onnxscript

    return onnxscript.opset18


def _float() -> Any:
    import onnx_ir

    return onnx_ir.DataType.FLOAT


def fold_constants(model: Any) -> None:
    """Compute the scales of biases and turn weights round, so that each is a constant: runtimes look for these."""
    import onnx_ir

    graph: Any = model.graph
    for node in [node for node in graph if node.op_type in _FOLDED]:
        given = [one.const_value for one in node.inputs]
        if any(one is None for one in given) or {u.op_type for u, _ in node.outputs[0].uses()} != {"DequantizeLinear"}:
            continue
        made = _FOLDED[node.op_type](*(one.numpy() for one in given))
        tensor = onnx_ir.tensor(made)
        value = onnx_ir.Value(name=node.outputs[0].name, const_value=tensor, shape=onnx_ir.Shape(made.shape),
                              type=onnx_ir.TensorType(tensor.dtype))
        node.outputs[0].replace_all_uses_with(value)
        inputs = list(node.inputs)
        graph.remove(node, safe=True)
        graph.register_initializer(value)
        for one in inputs:
            if one.name in graph.initializers and not one.uses():
                del graph.initializers[one.name]
