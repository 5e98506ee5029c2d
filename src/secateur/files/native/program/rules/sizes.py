"""Sizes of tensors as numbers."""

from __future__ import annotations

from math import prod

from secateur.files.native.program.rules.base import Spec, check_axis, need, rule


@rule("sym_size.int")
def size(x: Spec, dim: int) -> int:
    """The size of an axis."""
    need(bool(x.shape), "a number has no axes")
    return x.shape[check_axis(dim, len(x.shape))]


@rule("sym_numel")
def count(x: Spec) -> int:
    """How many values there are."""
    return prod(x.shape)
