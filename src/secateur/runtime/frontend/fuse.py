"""Operators that move into the one before them: activations, batch norm, fixed factors and offsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from secateur.runtime.ops import Op, Value

ENDS = {"affine", "add", "sub", "mul", "div"}
"""Kinds without weights whose kernels end with an activation."""


def fuse(ops: Sequence[Op], outputs: Sequence[Value]) -> tuple[Op, ...]:
    """The operators with those moved that have nobody else reading what they read."""
    readers: dict[Value, int] = dict.fromkeys(outputs, 1)
    for op in ops:
        for value in op.inputs:
            readers[value] = readers.get(value, 0) + 1
    fused: list[Op] = []
    for op in ops:
        before = next((k for k, o in enumerate(fused) if op.inputs and o.output == op.inputs[0]), None)
        joined = None if before is None or readers[op.inputs[0]] > 1 else _joined(fused[before], op)
        if joined is None or before is None:
            fused.append(op)
        else:
            fused[before] = joined
    return tuple(fused)


def _joined(before: Op, op: Op) -> Op | None:
    if before.act != "none":
        return None
    if op.kind == "act" and (before.weight is not None or before.kind in ENDS):
        return replace(before, output=op.output, act=op.act)
    if op.kind == "affine" and before.weight is not None and _finite(op):
        return folded(before, op)
    return None


def _finite(norm: Op) -> bool:
    return bool(np.isfinite(norm.settings["factor"]).all() and np.isfinite(norm.settings["offset"]).all())


def folded(layer: Op, norm: Op) -> Op:
    """A layer with the factor and offset of what follows in its weight and bias."""
    assert layer.weight is not None
    factor, offset = norm.settings["factor"], norm.settings["offset"]
    weight = layer.weight * factor.reshape(-1, *[1] * (layer.weight.ndim - 1))
    bias = (0 if layer.bias is None else layer.bias) * factor + offset
    return replace(layer, output=norm.output, weight=weight.astype(np.float32), bias=bias.astype(np.float32),
                   act=norm.act)
