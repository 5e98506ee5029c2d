"""Operators that give a tensor another type, or other values in its place."""

from __future__ import annotations

from typing import Any

import torch

from secateur.files.native.program.rules.base import Spec, broadcast, need, rule


@rule("to.dtype")
def to_type(x: Spec, dtype: torch.dtype, non_blocking: bool, copy: bool, memory_format: Any) -> Spec:
    """Another type."""
    return _converted(x, dtype, memory_format)


@rule("to.device")
def to_device(x: Spec, device: Any, dtype: torch.dtype, non_blocking: bool, copy: bool, memory_format: Any) -> Spec:
    """Another type, on the network's device."""
    return _converted(x, dtype, memory_format)


@rule("to.dtype_layout")
def to_layout(x: Spec, dtype: torch.dtype | None, layout: Any, device: Any, pin_memory: bool | None,
              non_blocking: bool, copy: bool, memory_format: Any) -> Spec:
    """Another type, or none."""
    need(not pin_memory, "pin_memory is not allowed")
    return _converted(x, dtype, memory_format)


@rule("_to_copy")
def to_copy(x: Spec, dtype: torch.dtype | None, layout: Any, device: Any, pin_memory: bool | None,
            non_blocking: bool, memory_format: Any) -> Spec:
    """A copy of another type, or of none."""
    need(not pin_memory, "pin_memory is not allowed")
    return _converted(x, dtype, memory_format)


@rule("to.other type_as")
def to_other(x: Spec, other: Spec, *_: Any) -> Spec:
    """The type of another tensor."""
    need(all(one in (None, True, False, torch.preserve_format) for one in _), "a layout is not allowed")
    return Spec(x.shape, other.dtype)


@rule("copy fill.Tensor")
def overwritten(x: Spec, source: Spec, non_blocking: bool = False) -> Spec:
    """Other values in the place of a tensor's, as its type."""
    need(broadcast(x.shape, source.shape) == x.shape, f"{source} does not fit into {x}")
    return x


@rule("fill.Scalar")
def filled(x: Spec, value: Any) -> Spec:
    """One number in every place."""
    return x


def _converted(x: Spec, dtype: torch.dtype | None, memory_format: Any) -> Spec:
    """A tensor of another type; another order of the axes in memory needs as many axes as it names."""
    axes = {torch.channels_last: 4, torch.channels_last_3d: 5}.get(memory_format, len(x.shape))
    need(axes == len(x.shape), f"a tensor of {len(x.shape)} axes has no layout {memory_format}")
    return Spec(x.shape, dtype or x.dtype)
