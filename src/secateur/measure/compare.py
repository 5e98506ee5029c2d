"""How far outputs of two networks, or of one network run in two ways, lie apart."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from secateur.core.tensors import tensors_in

LARGEST_DIFFERENCE = 1e-4
"""The largest :func:`difference` of a compiled network from torch: float32 sums in another order stay well below it,
while a wrong kernel is far above it."""


def difference(got: Any, expected: Any) -> float:
    """The largest absolute difference of each tensor as a fraction of its largest expected value; the worst of them.

    It is infinite where a value is NaN, or where number or shapes of the tensors differ.

    >>> difference(torch.tensor([1.0, 2.5]), torch.tensor([1.0, 2.0])), difference(torch.ones(2), torch.ones(3))
    (0.25, inf)
    """
    mine, theirs = tensors_in(got), tensors_in(expected)
    if [t.shape for t in mine] != [t.shape for t in theirs]:
        return float("inf")
    return max((_difference(a.detach(), b.detach()) for a, b in zip(mine, theirs, strict=True) if b.numel()),
               default=0.0)


def _difference(got: Tensor, expected: Tensor) -> float:
    # Nothing to divide by where all expected values are 0: any difference is then far above every limit.
    gap = (got.double() - expected.double()).abs().max() / expected.double().abs().max().clamp_min(1e-30)
    return float(torch.nan_to_num(gap, nan=torch.inf))


def equal_to_rounding(got: Any, expected: Any, roundings: int) -> bool:
    """Whether an output is another but for so many roundings of its type, relative to its largest value.

    Whole numbers, booleans and what is no tensor have to be equal; a NaN equals itself.

    >>> equal_to_rounding(torch.tensor([1.0]), torch.tensor([1.0 + 1e-6]), 32), equal_to_rounding(3, 4, 32)
    (True, False)
    """
    if not isinstance(expected, Tensor):
        return type(got) is type(expected) and bool(got == expected)
    if not isinstance(got, Tensor) or got.shape != expected.shape or got.dtype != expected.dtype:
        return False
    if not (expected.is_floating_point() or expected.is_complex()):
        return torch.equal(got, expected)
    size = float(expected.abs().nan_to_num(0, 0, 0).max()) if expected.numel() else 0.0
    return torch.allclose(got, expected, 0, roundings * torch.finfo(expected.dtype).eps * size, equal_nan=True)


def same_classes(one: Tensor, other: Tensor) -> float:
    """The fraction of rows along the last axis whose largest value stands in the same place.

    >>> same_classes(torch.tensor([[1.0, 2.0], [3.0, 1.0]]), torch.tensor([[0.0, 5.0], [0.0, 5.0]]))
    0.5
    """
    return float((one.argmax(-1) == other.argmax(-1)).double().mean())


def divergence(before: Tensor, after: Tensor) -> float:
    """The mean Kullback-Leibler divergence, in nats, of log-probabilities from those before, over the last axis.

    >>> divergence(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.8, 0.2]]).log())  # ln(0.5 / 0.4)
    0.2231435...
    """
    return max(0.0, float((before.exp() * (before - after)).sum(-1).mean()))
