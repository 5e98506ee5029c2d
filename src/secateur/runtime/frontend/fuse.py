"""Fuses activations, batch norm, fixed factors and offsets into the operator before them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from secateur.runtime.ops import Op, Value

_WITH_ACTIVATION = {"affine", "add", "sub", "mul", "div"}
"""Kinds without weights whose kernels end with an activation."""


def fuse(ops: Sequence[Op], outputs: Sequence[Value]) -> tuple[Op, ...]:
    """The operators, with each fused into the one before it where nobody else reads what it reads."""
    readers: dict[Value, int] = dict.fromkeys(outputs, 1)
    for op in ops:
        for value in op.inputs:
            readers[value] = readers.get(value, 0) + 1
    fused: list[Op] = []
    for op in ops:
        before = next((k for k, o in enumerate(fused) if op.inputs and o.output == op.inputs[0]), None)
        both = None if before is None or readers[op.inputs[0]] > 1 else _fuse_pair(fused[before], op)
        if both is None or before is None:
            fused.append(op)
        else:
            fused[before] = both
    return tuple(fused)


def _fuse_pair(before: Op, op: Op) -> Op | None:
    if before.act != "none":
        return None
    if op.kind == "act" and (before.weight is not None or before.kind in _WITH_ACTIVATION):
        return replace(before, output=op.output, act=op.act)
    if op.kind != "affine" or before.weight is None:
        return None
    factor, offset = op.settings["factor"], op.settings["offset"]
    # An infinite factor times a zero weight would be NaN where torch has a number.
    if not (np.isfinite(factor).all() and np.isfinite(offset).all()):
        return None
    weight = before.weight * factor.reshape(-1, *[1] * (before.weight.ndim - 1))
    bias = (0 if before.bias is None else before.bias) * factor + offset
    return replace(before, output=op.output, weight=weight.astype(np.float32), bias=bias.astype(np.float32), act=op.act)
