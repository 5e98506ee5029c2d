"""Tensors made from numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, isfinite
from typing import Any

import torch

from secateur.files.native.program.rules.base import MOST_SIZE, Spec, check_size, need, rule


@rule("zeros ones")
def constant(size: Sequence[int], dtype: torch.dtype | None, layout: Any, device: Any, pin_memory: bool | None) -> Spec:
    """One number in a shape."""
    need(not pin_memory, "pin_memory is not allowed")
    return Spec(check_size(size), dtype or torch.get_default_dtype())


@rule("full")
def full(size: Sequence[int], value: Any, dtype: torch.dtype | None, layout: Any, device: Any,
         pin_memory: bool | None) -> Spec:
    """A told number in a shape."""
    return constant(size, dtype or _kind(value), layout, device, pin_memory)


@rule("scalar_tensor")
def scalar(value: Any, dtype: torch.dtype | None, layout: Any, device: Any, pin_memory: bool | None) -> Spec:
    """A number."""
    return constant((), dtype, layout, device, pin_memory)


@rule("zeros_like ones_like")
def constant_like(x: Spec, dtype: torch.dtype | None, layout: Any, device: Any, pin_memory: bool | None,
                  memory_format: Any) -> Spec:
    """One number in the shape of another tensor."""
    axes = {torch.channels_last: 4, torch.channels_last_3d: 5}.get(memory_format, len(x.shape))
    need(axes == len(x.shape), f"a tensor of {len(x.shape)} axes has no layout {memory_format}")
    return constant(x.shape, dtype or x.dtype, layout, device, pin_memory)


@rule("full_like")
def full_like(x: Spec, value: Any, *rest: Any) -> Spec:
    """A told number in the shape of another tensor."""
    return constant_like(x, *rest)


@rule("new_zeros new_ones")
def constant_of_type(x: Spec, size: Sequence[int], dtype: torch.dtype | None, layout: Any, device: Any,
                     pin_memory: bool | None) -> Spec:
    """One number in a shape, as the type of another tensor."""
    return constant(size, dtype or x.dtype, layout, device, pin_memory)


@rule("new_full")
def full_of_type(x: Spec, size: Sequence[int], value: Any, *rest: Any) -> Spec:
    """A told number in a shape, as the type of another tensor."""
    return constant_of_type(x, size, *rest)


@rule("eye")
def eye(n: int, *rest: Any) -> Spec:
    """A matrix with ones on its diagonal."""
    return constant((n, n), *rest)


@rule("eye.m")
def eye_of_sides(n: int, m: int, *rest: Any) -> Spec:
    """The same with two sides."""
    return constant((n, m), *rest)


@rule("arange")
def numbers_to(end: Any, *rest: Any) -> Spec:
    """0, 1, … below ``end``."""
    return _numbers(0, end, 1, *rest)


@rule("arange.start")
def numbers_from(start: Any, end: Any, *rest: Any) -> Spec:
    """``start``, ``start + 1``, … below ``end``."""
    return _numbers(start, end, 1, *rest)


@rule("arange.start_step")
def numbers_by(start: Any, end: Any, step: Any, *rest: Any) -> Spec:
    """``start``, ``start + step``, … before ``end``."""
    return _numbers(start, end, step, *rest)


@rule("linspace")
def spaced(start: Any, end: Any, steps: int, *rest: Any) -> Spec:
    """Numbers at equal distances."""
    need(isfinite(start) and isfinite(end), "bounds that are not finite")
    return constant((steps,), *rest)


@rule("one_hot")
def one_hot(x: Spec, classes: int) -> Spec:
    """A one in the place that each whole number names; how many places is told."""
    need(x.dtype == torch.int64, f"places are int64, not {x}")
    return Spec(check_size((*x.shape, classes), 1, "a size or the number of classes"), torch.int64)


def _numbers(start: Any, end: Any, step: Any, dtype: torch.dtype | None, layout: Any, device: Any,
             pin_memory: bool | None) -> Spec:
    """A row of numbers; as many as they are must fit the type that they count in."""
    given = (start, end, step)
    told = f"from {start} to {end} by {step}"
    need(all(isfinite(one) and abs(one) <= MOST_SIZE for one in given) and step != 0, told)
    kind = dtype or (torch.int64 if all(isinstance(one, int) for one in given) else torch.get_default_dtype())
    if not kind.is_floating_point and any(isinstance(one, float) for one in given):
        start, end, step = (int(one) for one in given)
        need(step != 0, f"a step of {given[2]} in whole numbers")
    need((end - start) * step >= 0, told)
    whole = all(isinstance(one, int) for one in (start, end, step))
    return constant((-((start - end) // step) if whole else ceil((end - start) / step),), kind, layout, device,
                    pin_memory)


def _kind(value: Any) -> torch.dtype:
    """The type of a number that stands by itself."""
    if isinstance(value, bool):
        return torch.bool
    return torch.int64 if isinstance(value, int) else torch.get_default_dtype()
