"""The break-even of this machine: the sparsity from which kernels are faster than torch, by layer and batch."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from secateur.core.errors import SecateurError, UnsupportedError
from secateur.runtime import compile

_GRID = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)


@dataclass(frozen=True)
class SpeedPoint:
    """One measured sparsity: seconds of torch and of the kernels, medians of interleaved calls."""

    sparsity: float
    dense: float
    sparse: float

    @property
    def speedup(self) -> float:
        """How many times faster than torch the kernels are."""
        return self.dense / self.sparse


def curve(shape: tuple[int, int], batch: int, sparsities: Sequence[float] = _GRID,
          rounds: int = 15) -> list[SpeedPoint]:
    """Time a random linear layer at every sparsity, as :func:`layer_curve` does.

    Args:
        shape: outputs and inputs of the layer.
        batch: rows of the input.
        sparsities: fractions in [0, 1] of weights set to zero.
        rounds: calls of each; the median counts.

    Raises:
        SecateurError: a shape, batch, sparsity or count that cannot be.
    """
    if min(*shape, batch, rounds) < 1 or any(not 0 <= s <= 1 for s in sparsities):
        raise SecateurError(f"break-even of shape {shape}, batch {batch}, sparsities {tuple(sparsities)}: "
                            "allowed are positive sizes and sparsities in [0, 1]")
    layer, x = nn.Linear(shape[1], shape[0]), torch.randn(batch, shape[1])
    return layer_curve(layer, x, sparsities, rounds)


def break_even(points: Sequence[SpeedPoint]) -> float | None:
    """The lowest measured sparsity from which the kernels are never slower than torch, or None.

    >>> break_even([SpeedPoint(0.0, 1.0, 2.0), SpeedPoint(0.5, 1.0, 0.9), SpeedPoint(0.9, 1.0, 0.2)])
    0.5
    """
    found = None
    for point in sorted(points, key=lambda p: -p.sparsity):
        if point.speedup < 1:
            break
        found = point.sparsity
    return found


def table(shapes: Sequence[tuple[int, int]], batches: Sequence[int], sparsities: Sequence[float]) -> str:
    """The curves of several layers and batches as text, one line each, the break-even last."""
    lines = [" ".join(["layer".ljust(12), "batch", *(f"{s:6.0%}" for s in sparsities), "  pays from"])]
    for shape in shapes:
        for batch in batches:
            points = curve(shape, batch, sparsities)
            least = break_even(points)
            lines.append(" ".join([f"{shape[0]}x{shape[1]}".ljust(12), f"{batch:5d}",
                                   *(f"{p.speedup:5.2f}x" for p in points),
                                   "  nowhere" if least is None else f"  {least:.0%}"]))
    return "\n".join(lines)


def layer_curve(layer: nn.Module, x: torch.Tensor, sparsities: Sequence[float] = _GRID,
                rounds: int = 9) -> list[SpeedPoint]:
    """Time a layer of a network with random zeros at every sparsity, on the kernels alone and in torch, by turns.

    Where no kernel takes the layer, torch is timed twice.

    Args:
        layer: a linear or convolutional layer; it stays as it is.
        x: its input.
        sparsities: fractions in [0, 1] of weights set to zero.
        rounds: calls of each; the median counts.
    """
    return [_point(copy.deepcopy(layer).eval(), x, sparsity, rounds) for sparsity in sparsities]


def median_seconds(module: nn.Module, inputs: tuple[torch.Tensor, ...], rounds: int = 15) -> float:
    """The median time of a call, after two that are not counted."""
    with torch.inference_mode():
        times = [_seconds(module, *inputs) for _ in range(rounds + 2)][2:]
    return statistics.median(times)


def _point(layer: nn.Module, x: torch.Tensor, sparsity: float, rounds: int) -> SpeedPoint:
    weight = layer.get_parameter("weight")
    with torch.no_grad():
        weight[torch.rand(weight.shape) < sparsity] = 0
        try:
            fast: nn.Module = compile(layer, x, engine="kernels", always=True, budget=0.5)
        except UnsupportedError:
            fast = layer
        times = [(_seconds(layer, x), _seconds(fast, x)) for _ in range(rounds + 1)][1:]
    dense, sparse = (statistics.median(column) for column in zip(*times, strict=True))
    return SpeedPoint(sparsity, dense, sparse)


def _seconds(module: nn.Module, *inputs: torch.Tensor) -> float:
    start = time.perf_counter()
    module(*inputs)
    return time.perf_counter() - start
