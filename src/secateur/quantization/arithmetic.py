"""The arithmetic of int8, exactly: codes of activations and weights, their products as whole numbers, and back.

An activation is a code from 0 to 255 with a scale and a zero point, a weight one from -127 to 127 with a scale for each
output (Jacob et al., *Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference*,
CVPR 2018). Sums of products are whole numbers, so that every order of adding them gives the same: an engine that
computes them in int32 has to give the same bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

TOP = 255
"""The greatest code of an activation."""
SPAN = 127
"""The greatest code of a weight; -128 is left out, so that the codes are symmetric."""
_EXACT = 1 << 24
"""Whole numbers below this are float32 values, and so are their sums while these stay below it."""
_LARGEST = float(1 << 30)
"""The greatest code of a bias: what int32 holds, with room for the sum of products."""


def activation_codes(x: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """The codes of activations, less the zero point: whole numbers in float32.

    >>> activation_codes(torch.tensor([-1.0, 0.0, 0.26, 99.0]), torch.tensor(0.1), torch.tensor(5)).tolist()
    [-5.0, 0.0, 3.0, 250.0]
    """
    zero = zero.to(torch.float32)
    # Nothing in place: torch.export takes these operators apart.
    return ((x.float() / scale).round() + zero).clamp(0, TOP) - zero


def row_range(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Scale and zero point of each row of a tensor, from its own least and greatest value, which 0 stands among.

    Args:
        x: activations.
        axes: those of one row; in the results they have size 1.

    >>> scale, zero = row_range(torch.tensor([[0.0, 2.55], [-1.0, 1.55]]), (1,))
    >>> [round(float(s), 4) for s in scale], zero.flatten().tolist()
    ([0.01, 0.01], [0.0, 100.0])
    """
    low, high = x.float().amin(axes, keepdim=True).clamp(max=0), x.float().amax(axes, keepdim=True).clamp(min=0)
    scale = (high - low) / TOP
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return scale, (low.abs() / scale).round().clamp(max=TOP)


def codes_and_scale(x: Tensor, scale: Tensor | None, zero: Tensor | None,
                    axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The codes of inputs less the zero point, float32, with their scale: a given one, or that of each row.

    Args:
        x: inputs.
        scale, zero: those of all calls, of no axes; None takes those of each row.
        axes: those of one row.
    """
    if scale is None or zero is None:
        scale, zero = row_range(x, axes)
    return activation_codes(x, scale, zero), scale


def weight_codes(weight: Tensor, scale: Tensor) -> Tensor:
    """The nearest codes of a weight, int8.

    Args:
        weight: ``(outputs, ...)``.
        scale: ``(outputs,)``.

    >>> weight_codes(torch.tensor([[0.5, -1.27, 0.0]]), torch.tensor([0.01])).tolist()
    [[50, -127, 0]]
    """
    return (weight.float() / _by_output(scale, weight)).round().clamp(-SPAN, SPAN).to(torch.int8)


def values_of(codes: Tensor, scale: Tensor) -> Tensor:
    """The weight that codes stand for, float32."""
    return codes.float() * _by_output(scale, codes)


def bias_codes(bias: Tensor, scale: Tensor) -> Tensor:
    """A bias in units of the sums of products, int32; ``scale`` is that of an input times that of a weight."""
    return (bias.double() / scale.double()).round().clamp(-_LARGEST, _LARGEST).to(torch.int32)


def least_scale(bias: Tensor | None, input_scale: Tensor | None) -> Tensor | float:
    """The least scale of each output's weights with which its bias is a code."""
    if bias is None or input_scale is None:
        return 0.0
    return bias.detach().abs().double().div(input_scale.double() * _LARGEST).float()


def product_type(codes: Tensor) -> torch.dtype:
    """The type in which sums of products with codes of a weight, ``(outputs, ...)``, are exact whole numbers."""
    most = codes.flatten(1).abs().sum(1, dtype=torch.int64).max() * TOP if codes.numel() else 0
    return torch.float32 if most < _EXACT else torch.float64


def finish(sums: Tensor, scale: Tensor, bias: Tensor | None, axis: int) -> Tensor:
    """Sums of products as values: with the bias of a layer, times the scale.

    Args:
        sums: whole numbers as floats.
        scale: of an input times those of the outputs, in a shape that stretches to that of the sums.
        bias: ``(outputs,)``: int32 in units of the sums, or float values that are added at the end.
        axis: of the outputs.
    """
    if bias is None:
        return sums.float() * scale
    along = bias.view([-1 if i == axis % sums.ndim else 1 for i in range(sums.ndim)])
    if bias.is_floating_point():
        return sums.float() * scale + along
    return (sums.double() + along.double()).float() * scale


def _by_output(scale: Tensor, like: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (like.ndim - 1))
