"""Convolutions, and those that go the other way."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from secateur.files.native.program.rules.base import (
    Spec,
    check_size,
    check_tuple,
    floating,
    need,
    product_work,
    rule,
    values_in,
)

_MOST = 2**12
_FEW = 16


def _forward_scratch(x: Spec, weight: Spec, *rest: Any) -> int:
    """What the kernel sees, once for each place of the result, and as much again for copies of it."""
    found = conv_by_word(x, weight, *rest) if isinstance(rest[2], str) else conv(x, weight, *rest)
    return 2 * x.dtype.itemsize * (values_in(found) // weight.shape[0]) * prod(weight.shape[1:]) * rest[-1]


def _backward_scratch(x: Spec, weight: Spec, *_: Any) -> int:
    """The kernel times each value of the input, and as much again for copies of it."""
    return 2 * x.bytes * prod(weight.shape[1:])


def _work(given: Spec, weight: Spec) -> int:
    """A kernel over each value of a tensor; where it sums over few channels no fast product of matrices is left."""
    return product_work(values_in(given) * prod(weight.shape[1:]), weight.dtype) * max(1, _FEW // weight.shape[1])


def _forward_work(result: Spec, x: Spec, weight: Spec, *_: Any) -> int:
    return _work(result, weight)


def _backward_work(result: Spec, x: Spec, weight: Spec, *_: Any) -> int:
    return _work(x, weight)


@rule("conv1d conv2d conv3d", scratch=_forward_scratch, work=_forward_work)
def conv(x: Spec, weight: Spec, bias: Spec | None, stride: Any, padding: Any, dilation: Any, groups: int) -> Spec:
    """``([batch,] channels, …)`` to the same with other channels."""
    axes = _axes(x, weight)
    return _forward(x, weight, bias, stride, check_tuple(padding, axes, 0, "padding"), dilation, groups)


@rule("conv1d.padding conv2d.padding conv3d.padding", scratch=_forward_scratch, work=_forward_work)
def conv_by_word(x: Spec, weight: Spec, bias: Spec | None, stride: Any, padding: str, dilation: Any,
                 groups: int) -> Spec:
    """The same with the padding as a word."""
    need(padding in ("valid", "same"), f"padding is '{padding[:20]}'; allowed: valid, same")
    axes = _axes(x, weight)
    if padding == "valid":
        return _forward(x, weight, bias, stride, (0,) * axes, dilation, groups)
    need(check_tuple(stride, axes, 1, "stride") == (1,) * axes, "padding 'same' needs a stride of 1")
    found = _forward(x, weight, bias, stride, tuple(weight.shape[2:]), dilation, groups, whole=True)
    return Spec((*found.shape[:-axes], *x.shape[-axes:]), x.dtype)


@rule("conv_transpose1d conv_transpose2d.input conv_transpose3d.input", scratch=_backward_scratch,
      work=_backward_work)
def conv_transpose(x: Spec, weight: Spec, bias: Spec | None, stride: Any, padding: Any, output_padding: Any,
                   groups: int, dilation: Any) -> Spec:
    """The gradient of a convolution with respect to its input."""
    axes = _axes(x, weight)
    return _backward(x, weight, bias, stride, check_tuple(padding, axes, 0, "padding"), dilation, groups,
                     check_tuple(output_padding, axes, 0, "output_padding"))


def _either_scratch(x: Spec, weight: Spec, bias: Spec | None, stride: Any, padding: Any, dilation: Any,
                    transposed: bool, output_padding: Any, groups: int) -> int:
    return _backward_scratch(x, weight) if transposed else _forward_scratch(x, weight, bias, stride, padding, dilation,
                                                                            groups)


@rule("convolution", scratch=_either_scratch,
      work=lambda result, x, weight, *rest: (_backward_work if rest[4] else _forward_work)(result, x, weight))
def convolution(x: Spec, weight: Spec, bias: Spec | None, stride: Any, padding: Any, dilation: Any, transposed: bool,
                output_padding: Any, groups: int) -> Spec:
    """Either of them, for any number of axes; the batch is there."""
    need(len(x.shape) == len(weight.shape), f"{x} by {weight}")
    return (conv_transpose(x, weight, bias, stride, padding, output_padding, groups, dilation) if transposed else
            conv(x, weight, bias, stride, padding, dilation, groups))


def _forward(x: Spec, weight: Spec, bias: Spec | None, stride: Any, padding: Sequence[int], dilation: Any, groups: int,
             whole: bool = False) -> Spec:
    """The result of a convolution; ``whole`` where each size stays."""
    axes, (batch, channels, sides) = _parts(x, weight, bias, groups)
    out, inside, kernel = weight.shape[0], weight.shape[1], weight.shape[2:]
    need(inside * groups == channels and out % groups == 0, f"{x} by {weight} in {groups} groups")
    need(bias is None or bias.shape == (out,), f"bias {bias} for {out} channels")
    steps, spread = _steps(stride, axes, "stride"), _steps(dilation, axes, "dilation")
    sizes = [(side + 2 * pad - gap * (k - 1) - 1) // step + 1
             for side, pad, gap, k, step in zip(sides, padding, spread, kernel, steps, strict=True)]
    need(whole or min(sizes) > 0, f"kernel {list(kernel)} is larger than {x} with its edges")
    return Spec((*batch, out, *sizes), x.dtype)


def _backward(x: Spec, weight: Spec, bias: Spec | None, stride: Any, padding: Sequence[int], dilation: Any,
              groups: int, extra: Sequence[int]) -> Spec:
    """The result of a transposed convolution."""
    axes, (batch, channels, sides) = _parts(x, weight, bias, groups)
    need(weight.shape[0] == channels and channels % groups == 0, f"{x} by {weight} in {groups} groups")
    out, kernel = weight.shape[1] * groups, weight.shape[2:]
    need(bias is None or bias.shape == (out,), f"bias {bias} for {out} channels")
    steps, spread = _steps(stride, axes, "stride"), _steps(dilation, axes, "dilation")
    need(all(more < max(step, gap) for more, step, gap in zip(extra, steps, spread, strict=True)),
         f"output_padding {list(extra)} is not below the stride or dilation")
    sizes = [(side - 1) * step - 2 * pad + gap * (k - 1) + more + 1 for side, step, pad, gap, k, more in
             zip(sides, steps, padding, spread, kernel, extra, strict=True)]
    need(min(sizes) > 0, f"nothing is left of {x}")
    return Spec((*batch, out, *sizes), x.dtype)


def _parts(x: Spec, weight: Spec, bias: Spec | None,
           groups: int) -> tuple[int, tuple[tuple[int, ...], int, tuple[int, ...]]]:
    """The number of axes that a kernel has, and the batch, channels and sides of the input."""
    axes = _axes(x, weight)
    floating(x, weight, bias)
    check_size((groups, *weight.shape, *x.shape[-axes - 1:]), 1, "a size or the number of groups")
    return axes, (x.shape[:-axes - 1], x.shape[-axes - 1], x.shape[-axes:])


def _axes(x: Spec, weight: Spec) -> int:
    """How many sides a kernel has."""
    axes = len(weight.shape) - 2
    need(axes in (1, 2, 3) and len(x.shape) in (axes + 1, axes + 2), f"{x} by {weight}")
    return axes


def _steps(value: Any, axes: int, what: str) -> tuple[int, ...]:
    """Strides or dilations."""
    found = check_tuple(value, axes, 1, what)
    need(max(found) <= _MOST, f"{what} {list(found)} is beyond {_MOST}")
    return found
