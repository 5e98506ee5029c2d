"""Lookups and writes by position. Each kernel refuses a position that is not there; rules see to types and shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from secateur.files.native.program.rules.base import (
    VALUE,
    Spec,
    broadcast,
    check_axis,
    check_size,
    need,
    rule,
    values_in,
)

_WHOLE = (torch.int64, torch.int32)
_REDUCE = ("sum", "prod", "mean", "amax", "amin")


@rule("embedding")
def embedding(weight: Spec, indices: Spec, padding_idx: int, scale_grad_by_freq: bool, sparse: bool) -> Spec:
    """One row a position."""
    need(len(weight.shape) == 2 and indices.dtype in _WHOLE, f"rows of {weight} by {indices}")
    need(-1 <= padding_idx < max(1, weight.shape[0]) and not sparse, f"padding_idx {padding_idx} of {weight}")
    check_size(weight.shape, 1)
    return Spec((*indices.shape, weight.shape[1]), weight.dtype)


@rule("index_select")
def index_select(x: Spec, dim: int, index: Spec) -> Spec:
    """Some entries of an axis."""
    axis = check_axis(dim, len(x.shape))
    need(bool(x.shape) and index.dtype in _WHOLE and len(index.shape) == 1, f"entries {index} of {x}")
    return Spec((*x.shape[:axis], *index.shape, *x.shape[axis + 1:]), x.dtype)


@rule("gather")
def gather(x: Spec, dim: int, index: Spec, sparse_grad: bool) -> Spec:
    """One value a position along an axis."""
    need(not sparse_grad, "sparse gradients are not allowed")
    _check_along(x, dim, index)
    return Spec(index.shape, x.dtype)


@rule("take_along_dim")
def take_along(x: Spec, index: Spec, dim: int | None) -> Spec:
    """The same with broadcasting."""
    need(dim is not None and index.dtype == torch.int64 and len(index.shape) == len(x.shape) > 0, f"{index} of {x}")
    axis = check_axis(dim or 0, len(x.shape))
    others = broadcast(*((*one.shape[:axis], 1, *one.shape[axis + 1:]) for one in (x, index)))
    return Spec((*others[:axis], index.shape[axis], *others[axis + 1:]), x.dtype)


@rule("scatter.src scatter_add")
def scatter(x: Spec, dim: int, index: Spec, source: Spec) -> Spec:
    """Values put at positions along an axis."""
    _check_along(x, dim, index)
    need(source.dtype == x.dtype and len(source.shape) == len(index.shape) and all(
        i <= s for i, s in zip(index.shape, source.shape, strict=True)), f"{source} at {index} of {x}")
    return x


@rule("scatter.value")
def scatter_value(x: Spec, dim: int, index: Spec, value: Any) -> Spec:
    """One number put at positions along an axis."""
    _check_along(x, dim, index)
    return x


@rule("scatter_reduce.two")
def scatter_reduce(x: Spec, dim: int, index: Spec, source: Spec, reduce: str, include_self: bool) -> Spec:
    """Values taken together at positions along an axis."""
    need(reduce in _REDUCE, f"reduce is '{reduce[:20]}'; allowed: {', '.join(_REDUCE)}")
    return scatter(x, dim, index, source)


@rule("index_add")
def index_add(x: Spec, dim: int, index: Spec, source: Spec, alpha: Any) -> Spec:
    """Slices added at positions of an axis."""
    _check_slices(x, dim, index, source)
    return x


@rule("index_copy")
def index_copy(x: Spec, dim: int, index: Spec, source: Spec) -> Spec:
    """Slices put at positions of an axis."""
    need(index.dtype == torch.int64, f"positions {index}")
    _check_slices(x, dim, index, source)
    return x


@rule("index_fill.int_Scalar")
def index_fill(x: Spec, dim: int, index: Spec, value: Any) -> Spec:
    """One number put into slices."""
    check_axis(dim, len(x.shape))
    need(bool(x.shape) and index.dtype == torch.int64 and len(index.shape) == 1, f"positions {index} of {x}")
    return x


@rule("index.Tensor")
def index(x: Spec, indices: Sequence[Spec | None]) -> Spec:
    """Values at positions along several axes; truth values, whose number says a size, are not allowed."""
    return Spec(_indexed(x, indices), x.dtype)


@rule("index_put")
def index_put(x: Spec, indices: Sequence[Spec | None], values: Spec, accumulate: bool) -> Spec:
    """Values put there."""
    shape = _indexed(x, indices)
    need(values.dtype == x.dtype and broadcast(shape, values.shape) == shape, f"{values} at {list(shape)} of {x}")
    return x


@rule("masked_scatter")
def masked_scatter(x: Spec, mask: Spec, source: Spec) -> Spec:
    """Values of a row put into some places, in turn; the kernel refuses a row that is too short."""
    need(mask.dtype == torch.bool and source.dtype == x.dtype, f"{source} by {mask} into {x}")
    return Spec(broadcast(x.shape, mask.shape), x.dtype)


def _search_work(result: Spec, x: Spec, boundaries: Spec, *_: Any) -> int:
    """Each value compared as often as halves of the bounds make one."""
    return VALUE * values_in(x) * values_in(boundaries).bit_length()


@rule("bucketize.Tensor", work=_search_work)
def bucketize(x: Spec, boundaries: Spec, out_int32: bool, right: bool) -> Spec:
    """Between which of a row of bounds each value is."""
    need(len(boundaries.shape) == 1, f"boundaries {boundaries}")
    return Spec(x.shape, torch.int32 if out_int32 else torch.int64)


def _indexed(x: Spec, indices: Sequence[Spec | None]) -> tuple[int, ...]:
    """The shape of what positions along axes name: in the axes' place where these are neighbours, else in front."""
    need(0 < len(indices) <= len(x.shape), f"{len(indices)} positions in {x}")
    axes = [axis for axis, one in enumerate(indices) if one is not None]
    given = [one for one in indices if one is not None]
    need(bool(given) and all(one.dtype in _WHOLE for one in given), f"positions {given}; allowed are whole numbers")
    shape = broadcast(*(one.shape for one in given))
    need(all(x.shape[axis] for axis in axes), f"positions in an empty axis of {x}")
    kept = [size for axis, size in enumerate(x.shape) if axis not in axes]
    first = axes[0] if axes == list(range(axes[0], axes[-1] + 1)) else 0
    return (*kept[:first], *shape, *kept[first:])


def _check_along(x: Spec, dim: int, index: Spec) -> None:
    """Refuse positions along an axis that are not within the other axes."""
    axis = check_axis(dim, len(x.shape))
    need(index.dtype == torch.int64 and len(index.shape) == len(x.shape) > 0, f"positions {index} of {x}")
    need(all(i <= s for a, (i, s) in enumerate(zip(index.shape, x.shape, strict=True)) if a != axis),
         f"positions {index} of {x}")


def _check_slices(x: Spec, dim: int, index: Spec, source: Spec) -> None:
    """Refuse slices that are not as those of an axis are."""
    axis = check_axis(dim, len(x.shape))
    need(bool(x.shape) and index.dtype in _WHOLE and len(index.shape) == 1 and source.dtype == x.dtype
         and source.shape == (*x.shape[:axis], *index.shape, *x.shape[axis + 1:]), f"{source} at {index} of {x}")
