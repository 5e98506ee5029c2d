"""Operators that take an axis together, run along it, or order it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from secateur.files.native.program.rules.base import (
    VALUE,
    Spec,
    as_float,
    check_axes,
    check_axis,
    floating,
    is_number,
    need,
    rule,
    values_in,
)

_INDEX = torch.int64


def _without(x: Spec, axes: Sequence[int], keep: bool) -> tuple[int, ...]:
    """A shape after axes are taken together."""
    if keep:
        return tuple(1 if i in axes else size for i, size in enumerate(x.shape))
    return tuple(size for i, size in enumerate(x.shape) if i not in axes)


def _order_work(result: Any, x: Spec, *_: Any) -> int:
    """Each value compared as often as halves of all make one."""
    return VALUE * values_in(x) * values_in(x).bit_length()


def _filled(x: Spec, axes: Sequence[int]) -> None:
    """Refuse an empty axis, which has no greatest value."""
    need(all(x.shape[axis] for axis in axes if x.shape), f"an axis of {x} is empty")


def _total(x: Spec, dtype: torch.dtype | None) -> torch.dtype:
    """The type of a sum: whole numbers and truth values add up to int64."""
    return dtype or (x.dtype if is_number(x.dtype) else _INDEX)


@rule("sum prod")
def total(x: Spec, dtype: torch.dtype | None) -> Spec:
    """All values together."""
    return Spec((), _total(x, dtype))


@rule("sum.dim_IntList")
def total_of_axes(x: Spec, dim: Sequence[int] | None, keepdim: bool, dtype: torch.dtype | None) -> Spec:
    """Some axes together."""
    return Spec(_without(x, check_axes(dim, len(x.shape)), keepdim), _total(x, dtype))


@rule("prod.dim_int")
def product(x: Spec, dim: int, keepdim: bool, dtype: torch.dtype | None) -> Spec:
    """One axis multiplied."""
    return Spec(_without(x, [check_axis(dim, len(x.shape))], keepdim), _total(x, dtype))


@rule("mean")
def mean(x: Spec, dtype: torch.dtype | None) -> Spec:
    """The mean of all values."""
    return mean_of_axes(x, None, False, dtype)


@rule("mean.dim")
def mean_of_axes(x: Spec, dim: Sequence[int] | None, keepdim: bool, dtype: torch.dtype | None) -> Spec:
    """The mean over axes."""
    kind = dtype or x.dtype
    need(is_number(kind), f"a mean of {kind}")
    return Spec(_without(x, check_axes(dim, len(x.shape)), keepdim), kind)


@rule("amax amin")
def extreme(x: Spec, dim: Sequence[int], keepdim: bool) -> Spec:
    """The greatest or least over axes."""
    axes = check_axes(dim, len(x.shape))
    _filled(x, axes)
    return Spec(_without(x, axes, keepdim), x.dtype)


@rule("max min median", work=_order_work)
def extreme_of_all(x: Spec) -> Spec:
    """The greatest, least or middle of all."""
    _filled(x, range(len(x.shape)))
    return Spec((), x.dtype)


@rule("max.dim min.dim median.dim mode", work=_order_work)
def extreme_and_place(x: Spec, dim: int, keepdim: bool) -> list[Spec]:
    """The greatest, least or middle along an axis, and where it is."""
    axis = check_axis(dim, len(x.shape))
    _filled(x, [axis])
    shape = _without(x, [axis], keepdim)
    return [Spec(shape, x.dtype), Spec(shape, _INDEX)]


@rule("argmax argmin")
def place(x: Spec, dim: int | None, keepdim: bool) -> Spec:
    """Where the greatest or least is."""
    axes = list(range(len(x.shape))) if dim is None else [check_axis(dim, len(x.shape))]
    _filled(x, axes)
    return Spec(_without(x, axes, keepdim), _INDEX)


@rule("all any")
def truth_of_all(x: Spec) -> Spec:
    """Whether all or any hold."""
    return Spec((), torch.uint8 if x.dtype == torch.uint8 else torch.bool)


@rule("all.dim any.dim all.dims any.dims")
def truth(x: Spec, dim: Any, keepdim: bool) -> Spec:
    """Whether all or any hold along axes."""
    need(dim != [], "no axis is named")
    axes = [check_axis(dim, len(x.shape))] if isinstance(dim, int) else check_axes(dim, len(x.shape))
    return Spec(_without(x, axes, keepdim), torch.uint8 if x.dtype == torch.uint8 else torch.bool)


@rule("var.correction std.correction")
def spread(x: Spec, dim: Sequence[int] | None, correction: Any, keepdim: bool) -> Spec:
    """Variance or deviation over axes."""
    return Spec(_without(x, check_axes(dim, len(x.shape)), keepdim), floating(x))


@rule("var.dim std.dim")
def spread_by_word(x: Spec, dim: Sequence[int] | None, unbiased: bool, keepdim: bool) -> Spec:
    """The same with the correction as a truth value."""
    return spread(x, dim, None, keepdim)


@rule("var std")
def spread_of_all(x: Spec, unbiased: bool) -> Spec:
    """The same of all values."""
    return Spec((), floating(x))


@rule("var_mean.correction std_mean.correction")
def spread_and_mean(x: Spec, dim: Sequence[int] | None, correction: Any, keepdim: bool) -> list[Spec]:
    """Variance or deviation, and the mean."""
    return [spread(x, dim, correction, keepdim)] * 2


@rule("logsumexp")
def log_sum(x: Spec, dim: Sequence[int], keepdim: bool) -> Spec:
    """The logarithm of a sum of exponentials."""
    return Spec(_without(x, check_axes(dim, len(x.shape)), keepdim), as_float(x.dtype))


@rule("linalg_vector_norm")
def norm(x: Spec, order: Any, dim: Sequence[int] | None, keepdim: bool, dtype: torch.dtype | None) -> Spec:
    """The norm over axes."""
    need(dtype in (None, x.dtype), "another type is not allowed")
    axes = check_axes(dim, len(x.shape))
    _filled(x, axes)
    return Spec(_without(x, axes, keepdim), floating(x))


@rule("softmax.int log_softmax.int")
def softmax(x: Spec, dim: int, dtype: torch.dtype | None) -> Spec:
    """Shares along an axis."""
    check_axis(dim, len(x.shape))
    kind = dtype or x.dtype
    need(kind.is_floating_point, f"shares of {kind}")
    return Spec(x.shape, kind)


@rule("_softmax _log_softmax")
def plain_softmax(x: Spec, dim: int, half_to_float: bool) -> Spec:
    """The same in the type of the input."""
    need(not half_to_float, "half_to_float is not allowed")
    return softmax(x, dim, None)


@rule("_safe_softmax")
def safe_softmax(x: Spec, dim: int, dtype: torch.dtype | None) -> Spec:
    """The same with zeros where all of an axis is left out."""
    return softmax(x, dim, dtype)


@rule("cumsum cumprod")
def running_total(x: Spec, dim: int, dtype: torch.dtype | None) -> Spec:
    """Sums so far."""
    check_axis(dim, len(x.shape))
    return Spec(x.shape, _total(x, dtype))


@rule("logcumsumexp")
def running_log_sum(x: Spec, dim: int) -> Spec:
    """The logarithms of sums of exponentials so far."""
    check_axis(dim, len(x.shape))
    return Spec(x.shape, floating(x))


@rule("cummax cummin")
def running_extreme(x: Spec, dim: int) -> list[Spec]:
    """The greatest or least so far, and where it is."""
    check_axis(dim, len(x.shape))
    return [x, Spec(x.shape, _INDEX)]


@rule("sort", work=_order_work)
def ordered(x: Spec, dim: int, descending: bool) -> list[Spec]:
    """The values in order, and where they were."""
    check_axis(dim, len(x.shape))
    return [x, Spec(x.shape, _INDEX)]


@rule("sort.stable", work=_order_work)
def ordered_stably(x: Spec, stable: bool | None, dim: int, descending: bool) -> list[Spec]:
    """The same, equal values in their order."""
    return ordered(x, dim, descending)


@rule("argsort", work=_order_work)
def order(x: Spec, dim: int, descending: bool) -> Spec:
    """Where the values in order were."""
    return ordered(x, dim, descending)[1]


@rule("topk", work=_order_work)
def topk(x: Spec, k: int, dim: int, largest: bool, in_order: bool) -> list[Spec]:
    """The ``k`` greatest along an axis, and where they are."""
    need(bool(x.shape), "a number has no order")
    axis = check_axis(dim, len(x.shape))
    need(0 <= k <= x.shape[axis], f"{k} of {x.shape[axis]}")
    shape = tuple(k if i == axis else size for i, size in enumerate(x.shape))
    return [Spec(shape, x.dtype), Spec(shape, _INDEX)]


@rule("count_nonzero count_nonzero.dim_IntList")
def count(x: Spec, dim: Any) -> Spec:
    """How many values are not zero."""
    axes = check_axes([dim] if isinstance(dim, int) else dim, len(x.shape))
    return Spec(_without(x, axes, False), _INDEX)


@rule("diff")
def difference(x: Spec, n: int, dim: int, prepend: Spec | None, append: Spec | None) -> Spec:
    """Each value less the one before it, with tensors put before and behind; truth values by their exclusive or."""
    need(n == 1 and bool(x.shape), f"{n} differences of {x}; allowed is 1")
    axis, size = check_axis(dim, len(x.shape)), 0
    for one in (x, *(more for more in (prepend, append) if more is not None)):
        need(one.dtype == x.dtype and len(one.shape) == len(x.shape) and _without(one, [axis], True) == _without(
            x, [axis], True), f"{one} beside {x}")
        size += one.shape[axis]
    return Spec(tuple(max(0, size - 1) if i == axis else s for i, s in enumerate(x.shape)), x.dtype)
