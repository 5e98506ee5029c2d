"""Stored tensors with what would hide a mistake taken away."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import torch
from torch import Tensor, nn

from secateur.graph.proof.float64 import double

_NARROW = {torch.float16, torch.bfloat16, torch.float32}


class Perturbation:
    """Stored tensors in float64 with what would hide a mistake taken away, the same values at every call.

    float32 holds the values of all that are no wider. Weights below unit gain are scaled up by a power of two, since
    near-uniform attention hides scrambled heads. Constant tensors (fresh norms, zero biases) get differing values,
    since equal ones hide any order. A single learned zero (the gain of a fresh residual branch) gets another value,
    since it hides the branch.
    """

    def __init__(self) -> None:
        self._factors: dict[str, float | None] = {}

    def __call__(self, name: str, tensor: Tensor, pick: Callable[[Tensor], Tensor] = lambda t: t) -> Tensor:
        """What ``pick`` takes of a tensor, perturbed; nothing larger than what is picked is made."""
        if name not in self._factors:
            self._factors[name] = _factor_for(tensor)
        tensor = tensor.detach()
        factor = self._factors[name]
        if factor is None:
            return pick(_vary(name, tensor))
        value = double(pick(tensor))
        if factor == 1:
            return value
        return value * factor if value.data_ptr() == tensor.data_ptr() else value.mul_(factor)


def round_to_float32(value: Tensor, tensor: Tensor, wide: bool) -> Tensor:
    """A perturbed tensor as a proof holds it: a parameter in float32, which is exact, but not a wider or ``wide`` one.
    """
    narrow = not wide and isinstance(tensor, nn.Parameter) and tensor.dtype in _NARROW
    return value.to(torch.float32) if narrow else value


def _factor_for(tensor: Tensor) -> float | None:
    """The power of two that brings a tensor to about unit gain, one at least; none for a constant one."""
    if not tensor.is_floating_point() or tensor.numel() < 2:
        alone = isinstance(tensor, nn.Parameter) and tensor.is_floating_point() and tensor.numel() == 1
        return None if alone and float(tensor.detach()) == 0 else 1.0
    tensor = tensor.detach()
    spread = float(tensor.std() if tensor.dtype in (torch.float32, torch.float64) else tensor.float().std())
    if spread == 0:
        return None
    # A random layer keeps the size of its inputs where the spread is 1 / sqrt(inputs). A power of two is exact.
    gain = spread * (tensor.numel() / tensor.shape[0]) ** 0.5
    known = tensor.ndim > 1 and 0 < gain < math.inf
    return 2.0 ** max(0, round(math.log2(1.4 / gain))) if known else 1.0


def _vary(name: str, tensor: Tensor) -> Tensor:
    """Differing values around those of a constant tensor, of the same sign where it has one."""
    noise = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    draw = torch.rand(tensor.shape, generator=noise, dtype=torch.float64).to(tensor.device)
    level = float(tensor.flatten()[0])
    if level == 0 and tensor.numel() > 1:
        values = (draw - 0.5) * 0.6
    else:
        values = level * (0.7 + 0.6 * draw) if abs(level) > 0.05 else 0.3 + 0.4 * draw
    return values.float().double() if abs(level) < torch.finfo(torch.float32).max else values
