"""The products of int8 layers as operators of torch: one node each in an exported program.

A call in Python runs the function itself. While torch traces a program, the operator stands for it, so that exporters
and the runtime find the layer, not its arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from secateur.quantization.arithmetic import codes_and_scale, finish, product_type


def linear(x: Tensor, codes: Tensor, scale: Tensor, bias: Tensor | None, input_scale: Tensor | None,
           input_zero: Tensor | None) -> Tensor:
    """``x W' + b`` in eight bits.

    Args:
        x: ``(..., inputs)``.
        codes: ``(outputs, inputs)``, int8.
        scale: ``(outputs,)``.
        bias: ``(outputs,)``, int32 where inputs have a static scale, else float32; or None.
        input_scale, input_zero: of the inputs, float32 and uint8 of no axes; None takes those of each row.

    Returns:
        ``(..., outputs)``, in the type of ``x``.
    """
    run = torch.ops.secateur.int8_linear if torch.compiler.is_exporting() else _linear
    return run(x, codes, scale, bias, input_scale, input_zero)  # type: ignore[no-any-return]


def conv(x: Tensor, codes: Tensor, scale: Tensor, bias: Tensor | None, input_scale: Tensor | None,
         input_zero: Tensor | None, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int],
         groups: int) -> Tensor:
    """A convolution in eight bits.

    Args:
        x: ``(samples, inputs, ...)``, of one or two further axes.
        codes: ``(outputs, inputs / groups, ...)``, int8.
        scale, bias, input_scale, input_zero: as in :func:`linear`; a row is one sample.
        stride, padding, dilation, groups: as in :func:`torch.nn.functional.conv2d`.

    Returns:
        ``(samples, outputs, ...)``, in the type of ``x``.
    """
    run = torch.ops.secateur.int8_conv if torch.compiler.is_exporting() else _conv
    return run(x, codes, scale, bias, input_scale, input_zero,  # type: ignore[no-any-return]
               list(stride), list(padding), list(dilation), groups)


def spelt_out(codes: Iterable[Tensor]) -> dict[Callable[..., Any], Callable[..., Tensor]]:
    """What stands for the operators in a program that has to run without them, in operators of torch alone.

    Args:
        codes: those of all layers in it; sums are computed in a type that is exact for each of them, since a program
            cannot choose one by its weights.
    """
    kind = reduce(torch.promote_types, map(product_type, codes), torch.float32)
    linear_sums, conv_sums = partial(_linear, kind=kind), partial(_conv, kind=kind)
    return dict(zip(OPERATORS, (linear_sums, conv_sums), strict=True))


def _linear(x: Tensor, codes: Tensor, scale: Tensor, bias: Tensor | None, input_scale: Tensor | None,
            input_zero: Tensor | None, kind: torch.dtype | None = None) -> Tensor:
    given, step = codes_and_scale(x, input_scale, input_zero, (-1,))
    kind = kind or product_type(codes)
    sums = F.linear(given.to(kind), codes.to(kind))
    return finish(sums, step * scale, bias, -1).to(x.dtype)


def _conv(x: Tensor, codes: Tensor, scale: Tensor, bias: Tensor | None, input_scale: Tensor | None,
          input_zero: Tensor | None, stride: list[int], padding: list[int], dilation: list[int],
          groups: int, kind: torch.dtype | None = None) -> Tensor:
    given, step = codes_and_scale(x, input_scale, input_zero, tuple(range(1, x.ndim)))
    kind = kind or product_type(codes)
    product = F.conv1d if codes.ndim == 3 else F.conv2d
    sums = product(given.to(kind), codes.to(kind), None, stride, padding, dilation, groups)
    return finish(sums, step * scale.view(-1, *[1] * (codes.ndim - 2)), bias, 1).to(x.dtype)


def _linear_shape(x: Tensor, codes: Tensor, *_: Any) -> Tensor:
    return x.new_empty((*x.shape[:-1], codes.shape[0]))


def _conv_shape(x: Tensor, codes: Tensor, *settings: Any) -> Tensor:
    product = F.conv1d if codes.ndim == 3 else F.conv2d
    return product(x, codes.to(x.dtype), None, *settings[-4:])


_INPUTS = "Tensor x, Tensor codes, Tensor scale, Tensor? bias, Tensor? input_scale, Tensor? input_zero"
_LIBRARY = torch.library.Library("secateur", "FRAGMENT")
_LIBRARY.define(f"int8_linear({_INPUTS}) -> Tensor")
_LIBRARY.define(f"int8_conv({_INPUTS}, int[] stride, int[] padding, int[] dilation, int groups) -> Tensor")
for _name, _function, _shape in (("int8_linear", _linear, _linear_shape), ("int8_conv", _conv, _conv_shape)):
    for _device in ("CPU", "CUDA"):
        _LIBRARY.impl(_name, _function, _device)
    _LIBRARY.impl(_name, _shape, "Meta")
OPERATORS = (torch.ops.secateur.int8_linear.default, torch.ops.secateur.int8_conv.default)
"""Both, as they stand in a program."""
