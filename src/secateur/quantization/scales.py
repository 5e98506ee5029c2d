"""The scales of a weight: one for each output, from its own values."""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.quantization.arithmetic import SPAN, values_of, weight_codes

_CLIPS = 24
_LEAST = 0.7
"""The least part of the greatest value that is tried as the end of the codes."""


def scales_of(weight: Tensor, least: Tensor | float = 0.0) -> Tensor:
    """The scale of each output with which rounding to nearest makes the least squared error.

    Args:
        weight: ``(outputs, ...)``.
        least: no scale is below.

    Returns:
        ``(outputs,)``, float32; where all values are zero the least, or 1.

    >>> scales_of(torch.tensor([[1.27, 0.0], [0.0, 0.0]])).tolist()
    [0.009999999776482582, 1.0]
    """
    rows = weight.detach().float().flatten(1)
    top = rows.abs().amax(1) / SPAN
    # a scale that is barely a number would divide values into infinities
    empty = top <= torch.finfo(torch.float32).tiny
    top = top.masked_fill(empty, 1)
    best, error = top, _errors(rows, top)
    for step in range(1, _CLIPS + 1):
        scale = top * (1 - step * (1 - _LEAST) / _CLIPS)
        found = _errors(rows, scale)
        best, error = torch.where(found < error, scale, best), torch.minimum(found, error)
    best = torch.maximum(best.masked_fill(empty, 0), torch.as_tensor(least, dtype=torch.float32, device=best.device))
    return torch.where(best > 0, best, torch.ones_like(best))


def _errors(rows: Tensor, scale: Tensor) -> Tensor:
    return (values_of(weight_codes(rows, scale), scale) - rows).square().sum(1)
