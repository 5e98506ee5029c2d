"""Layers, norms and pooling: one exported node to one operator, or the reason why not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.runtime.frontend.node import ExportedCall, Refused, Rule
from secateur.runtime.ops import Op
from secateur.runtime.schedule.candidates import MAX_COLUMNS


def linear(call: ExportedCall) -> Op:
    """``aten.linear``."""
    weight = call.constant(1, "weight")
    return _product(call, weight, call.constant(2, "bias"))


def matmul(call: ExportedCall) -> Op:
    """``aten.matmul`` and ``aten.mm`` with a fixed matrix on the right."""
    weight = call.constant(1, "right side")
    assert weight is not None
    return _product(call, np.ascontiguousarray(weight.T))


def addmm(call: ExportedCall) -> Op:
    """``aten.addmm`` with a fixed bias and a fixed matrix on the right."""
    bias, weight = call.constant(0, "bias"), call.constant(2, "right side")
    assert weight is not None
    if bias is None or bias.ndim != 1 or call.argument(3, "beta", 1) != 1 or call.argument(4, "alpha", 1) != 1:
        raise Refused("it scales, or adds more than a bias")
    return _product(call, np.ascontiguousarray(weight.T), bias, 1)


def _product(call: ExportedCall, weight: NDArray[np.float32] | None, bias: NDArray[np.float32] | None = None,
             index: int = 0) -> Op:
    """A product of the input at ``index`` with a weight ``(outputs, inputs)``, for every row of the leading axes."""
    if weight is None or weight.ndim != 2:
        raise Refused("its weight is not a matrix")
    source = call.value(call.node.args[index])
    if source.size > MAX_COLUMNS:
        raise Refused(f"it has more than {MAX_COLUMNS} inputs")
    return call.op("linear", source, weight=weight, bias=bias)


def _pair(value: Any, default: int, axes: int) -> tuple[int, int]:
    """A setting of one or two axes as rows and columns; of one axis, rows have the default."""
    items = [value] if isinstance(value, int) else list(value or [default])
    items = items * axes if len(items) == 1 else items
    return (items[0], items[1]) if axes == 2 else (default, items[0])


def conv(call: ExportedCall) -> Op:
    """``aten.conv1d`` and ``aten.conv2d``."""
    source, output = call.source, call.output
    weight = call.constant(1, "weight")
    assert weight is not None
    axes = weight.ndim - 2
    if len(source.shape) != axes + 1:
        raise Refused("its input has no batch axis")
    padding = call.argument(4, "padding", 0)
    settings = {"stride": _pair(call.argument(3, "stride"), 1, axes),
                "dilation": _pair(call.argument(5, "dilation"), 1, axes), "groups": call.argument(6, "groups", 1)}
    settings["padding"] = (_named_padding(padding, weight, settings["dilation"]) if isinstance(padding, str) else
                           _pair(padding, 0, axes))
    settings["positions"] = output.size // output.shape[0]
    rows, columns = (1, *source.shape[1:])[-2:]
    if (rows + 2 * settings["padding"][0]) * (columns + 2 * settings["padding"][1]) > MAX_COLUMNS:
        raise Refused(f"a padded plane has more than {MAX_COLUMNS} positions")
    return call.op("conv", source, weight=weight, bias=call.constant(2, "bias"), settings=settings)


def _named_padding(name: str, weight: NDArray[np.float32], dilation: tuple[int, int]) -> tuple[int, int]:
    """The padding that ``valid`` or ``same`` means."""
    reach = [(k - 1) * d for k, d in zip((1, *weight.shape[2:])[-2:], dilation, strict=True)]
    if name == "valid":
        return (0, 0)
    if any(r % 2 for r in reach):
        raise Refused("its padding 'same' is wider on one side")
    return reach[0] // 2, reach[1] // 2


def conv3d(call: ExportedCall) -> Op:
    """``aten.conv3d``: refused."""
    del call
    raise Refused("no kernel for convolutions over three axes")


def batch_norm(call: ExportedCall) -> Op:
    """``aten.batch_norm`` in evaluation: folded into the layer before it, or by itself."""
    if call.argument(5, "training"):
        raise Refused("it is in training mode")
    source = call.source
    scale, shift, mean, variance = (call.constant(k, "statistics") for k in (1, 2, 3, 4))
    if mean is None or variance is None:
        raise Refused("it has no running statistics")
    factor = (1 if scale is None else scale) / np.sqrt(variance.astype(np.float64) + call.argument(7, "eps"))
    offset = (0 if shift is None else shift) - mean * factor
    return call.op("affine", source, settings={"factor": factor, "offset": offset})


def layer_norm(call: ExportedCall) -> Op:
    """``aten.layer_norm`` over the last axes."""
    scale, shift = (call.constant(k, name) for k, name in ((2, "weight"), (3, "bias")))
    settings = {"scale": None if scale is None else scale.reshape(-1), "eps": float(call.argument(4, "eps", 1e-5)),
                "shift": None if shift is None else shift.reshape(-1)}
    return call.op("norm", settings=settings)


def softmax(call: ExportedCall) -> Op:
    """``aten.softmax`` along the last axis."""
    if len(call.source.shape) != 1:
        raise Refused("it is taken along another axis than the last")
    return call.op("softmax")


def pool(kind: str, axes: int = 2) -> Rule:
    """The rule of ``aten.max_pool`` or ``aten.avg_pool`` over one or two axes."""

    def lower(call: ExportedCall) -> Op:
        window = _pair(call.argument(1, "kernel_size"), 1, axes)
        stride = _pair(call.argument(2, "stride") or list(window)[-axes:], 1, axes)
        if kind == "max" and _pair(call.argument(4, "dilation", 1), 1, axes) != (1, 1):
            raise Refused("it is dilated")
        settings = {"kind": kind, "window": window, "stride": stride,
                    "padding": _pair(call.argument(3, "padding"), 0, axes),
                    "with_padding": kind == "avg" and call.argument(5, "count_include_pad", True),
                    "divisor": (call.argument(6, "divisor_override") or 0) if kind == "avg" else 0}
        return _pool(call, settings, axes)

    return lower


def _pool(call: ExportedCall, settings: dict[str, Any], axes: int = 2) -> Op:
    source = call.source
    if len(source.shape) != axes + 1:
        raise Refused("its input has no batch axis")
    return call.op("pool", source, settings=settings)


def adaptive(call: ExportedCall) -> Op:
    """``aten.adaptive_avg_pool2d`` where windows are equal and do not overlap."""
    rows, columns = call.source.shape[-2:]
    out = call.output.shape[-2:]
    if rows % out[0] or columns % out[1]:
        raise Refused("its windows are of different sizes")
    return _pool(call, _average((rows // out[0], columns // out[1])))


def mean(call: ExportedCall) -> Op:
    """``aten.mean`` over the two last axes of planes."""
    shape = call.source.shape
    axes = {a % (len(shape) + 1) for a in call.node.args[1] or ()}  # type: ignore[union-attr,operator]
    if len(shape) != 3 or axes != {2, 3}:
        raise Refused("it averages over other axes than the planes'")
    return _pool(call, _average((shape[1], shape[2])))


def _average(size: tuple[int, int]) -> dict[str, Any]:
    """The settings of averages over windows of a size that do not overlap."""
    return {"kind": "avg", "window": size, "stride": size, "padding": (0, 0), "with_padding": False}
