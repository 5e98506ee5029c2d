"""How far the outputs of two networks lie apart."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

LARGEST_DIFFERENCE = 1e-4


def largest(got: Any, expected: Any) -> float:
    """The greatest :func:`difference` of any tensor of some outputs."""
    pairs = zip(pytree.tree_leaves(got), pytree.tree_leaves(expected), strict=True)
    return max(difference(a, b) for a, b in pairs if isinstance(b, Tensor))


def difference(got: Tensor, expected: Tensor) -> float:
    """The greatest absolute difference, as a fraction of the greatest expected value; infinite where either is NaN.

    >>> difference(torch.tensor([1.0, 2.5]), torch.tensor([1.0, 2.0]))
    0.25
    """
    gap = (got.double() - expected.double()).abs().max() / expected.double().abs().max().clamp_min(1e-30)
    return float(torch.nan_to_num(gap, nan=torch.inf))
