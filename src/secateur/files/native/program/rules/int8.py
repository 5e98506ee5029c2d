"""Products of int8 layers."""

from __future__ import annotations

from math import prod
from typing import Any

import torch

from secateur.files.native.program.rules.base import Spec, need, product_work, rule, values_in
from secateur.files.native.program.rules.convolution import conv

_WIDE = 8
"""Bytes of the values that sums are computed in where float32 would round them."""


def _linear_scratch(x: Spec, codes: Spec, *_: Any) -> int:
    """Inputs, codes and sums as wide values, each twice while they change."""
    return 2 * _WIDE * (values_in(x) + values_in(codes) + prod(x.shape[:-1]) * codes.shape[0])


def _conv_scratch(x: Spec, codes: Spec, *rest: Any) -> int:
    """The same, and what the kernel sees once for each place of the result, and as much again for copies of it."""
    found = int8_conv(x, codes, *rest)
    seen = (values_in(found) // codes.shape[0]) * prod(codes.shape[1:]) * rest[-1]
    return 2 * _WIDE * (values_in(x) + values_in(codes) + values_in(found) + seen)


def _work(result: Spec, x: Spec, codes: Spec, *_: Any) -> int:
    """Each value of the result is a sum over the inputs that one output reads."""
    return product_work(values_in(result) * prod(codes.shape[1:]), torch.float64)


@rule("int8_linear", scratch=_linear_scratch, work=_work, space="secateur")
def int8_linear(x: Spec, codes: Spec, scale: Spec, bias: Spec | None, input_scale: Spec | None,
                input_zero: Spec | None) -> Spec:
    """``(…, inputs)`` to ``(…, outputs)``."""
    need(len(codes.shape) == 2 and bool(x.shape) and x.shape[-1] == codes.shape[1], f"{x} by {codes}")
    _check_parts(x, codes, scale, bias, input_scale, input_zero)
    return Spec((*x.shape[:-1], codes.shape[0]), x.dtype)


@rule("int8_conv", scratch=_conv_scratch, work=_work, space="secateur")
def int8_conv(x: Spec, codes: Spec, scale: Spec, bias: Spec | None, input_scale: Spec | None, input_zero: Spec | None,
              stride: Any, padding: Any, dilation: Any, groups: int) -> Spec:
    """``(batch, channels, …)`` of one or two further axes to the same with other channels."""
    need(len(codes.shape) in (3, 4) and len(x.shape) == len(codes.shape), f"{x} by {codes}")
    _check_parts(x, codes, scale, bias, input_scale, input_zero)
    found: Spec = conv(x, Spec(codes.shape, x.dtype), None, stride, padding, dilation, groups)
    return found


def _check_parts(x: Spec, codes: Spec, scale: Spec, bias: Spec | None, input_scale: Spec | None,
                 input_zero: Spec | None) -> None:
    """Refuse tensors that are not those of an int8 layer."""
    outputs = codes.shape[:1]
    need(x.dtype.is_floating_point and codes.dtype == torch.int8, f"{x} by {codes}")
    need(scale == Spec(outputs, torch.float32), f"scale {scale} of {codes}")
    need(bias is None or (bias.shape == outputs and bias.dtype in (torch.float32, torch.float64, torch.float16,
                                                                   torch.bfloat16, torch.int32)), f"bias {bias}")
    need((input_scale, input_zero) in ((None, None), (Spec((), torch.float32), Spec((), torch.uint8))),
         f"scale {input_scale} and zero {input_zero} of inputs")
    need(min((*x.shape[1:], *codes.shape), default=1) > 0, f"{x} by {codes} has nothing to add up")
