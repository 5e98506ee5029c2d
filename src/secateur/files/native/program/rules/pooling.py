"""Pooling and the change of an image's size."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, prod
from typing import Any

import torch

from secateur.files.native.program.rules.base import Spec, check_size, check_tuple, floating, need, rule, values_in

_LARGEST = 64
_SEEN = 2**5
"""Operations that a value counts as each time that a window sees it."""


def _split(x: Spec, axes: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Batch and channels, and the sides; none but the batch may be empty."""
    need(len(x.shape) in (axes + 1, axes + 2), f"{x} has no {axes} sides")
    check_size(x.shape[-axes - 1:], 1)
    return x.shape[:-axes], x.shape[-axes:]


def _adaptive(axes: int, places: bool) -> Any:
    def pool(x: Spec, output_size: Any) -> Any:
        sizes = check_tuple(output_size, axes, 1, "output_size")
        found = Spec((*_split(x, axes)[0], *sizes), floating(x))
        return [found, Spec(found.shape, torch.int64)] if places else found
    return pool


def _average(axes: int) -> Any:
    def pool(x: Spec, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, count_include_pad: bool,
             divisor: int | None = None) -> Spec:
        need(divisor != 0, "divisor_override is 0")
        return Spec(_windows(x, axes, kernel, stride, padding, 1, ceil_mode), floating(x))
    return pool


def _maximum(axes: int, places: bool) -> Any:
    def pool(x: Spec, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> Any:
        shape = _windows(x, axes, kernel, stride, padding, dilation, ceil_mode)
        return [Spec(shape, floating(x)), Spec(shape, torch.int64)] if places else Spec(shape, floating(x))
    return pool


def _windows_work(axes: int) -> Any:
    """Each value of a result sees a window."""
    def work(result: Any, x: Spec, kernel: Any, *_: Any) -> int:
        return _SEEN * values_in(result) * prod(check_tuple(kernel, axes, 1, "kernel_size"))
    return work


def _adaptive_work(axes: int) -> Any:
    """Windows end where the next one begins, or one value behind that."""
    def work(result: Any, x: Spec, *_: Any) -> int:
        found = result[0] if isinstance(result, list) else result
        sides = [side + 2 * size for side, size in zip(x.shape[-axes:], found.shape[-axes:], strict=True)]
        return _SEEN * prod(x.shape[:-axes]) * prod(sides)
    return work


for _axes in (1, 2, 3):
    rule(f"adaptive_avg_pool{_axes}d", work=_adaptive_work(_axes))(_adaptive(_axes, places=False))
    rule(f"adaptive_max_pool{_axes}d", work=_adaptive_work(_axes))(_adaptive(_axes, places=True))
    rule(f"avg_pool{_axes}d", work=_windows_work(_axes))(_average(_axes))
    rule(f"max_pool{_axes}d", work=_windows_work(_axes))(_maximum(_axes, places=False))
    rule(f"max_pool{_axes}d_with_indices", work=_windows_work(_axes))(_maximum(_axes, places=True))
for _axes in (2, 3):
    rule(f"_adaptive_avg_pool{_axes}d", work=_adaptive_work(_axes))(_adaptive(_axes, places=False))


def _windows(x: Spec, axes: int, kernel: Any, stride: Any, padding: Any, dilation: Any,
             up: bool) -> tuple[int, ...]:
    """The shape after a window has gone over an image."""
    batch, sides = _split(x, axes)
    size = check_tuple(kernel, axes, 1, "kernel_size")
    step = check_tuple(stride, axes, 1, "stride") if stride else size
    pad, gap = check_tuple(padding, axes, 0, "padding"), check_tuple(dilation, axes, 1, "dilation")
    need(max(*size, *step, *gap) <= 2**16, "a window beyond 65536")
    need(all(2 * p <= k for p, k in zip(pad, size, strict=True)), "padding is more than half of the kernel")
    return (*batch, *(_count(*one, up) for one in zip(sides, size, step, pad, gap, strict=True)))


def _count(side: int, kernel: int, step: int, pad: int, gap: int, up: bool) -> int:
    """How often a window fits into one side; the last one begins inside."""
    room = side + 2 * pad - gap * (kernel - 1) - 1
    need(room >= 0, f"a kernel of {kernel} is larger than {side} with its edges")
    found = (room + (step - 1 if up else 0)) // step + 1
    return found - 1 if up and (found - 1) * step >= side + pad else found


@rule("im2col")
def columns(x: Spec, kernel: Sequence[int], dilation: Any, padding: Any, stride: Any) -> Spec:
    """What a window sees, one column a place."""
    size, gap = check_tuple(kernel, 2, 1, "kernel_size"), check_tuple(dilation, 2, 1, "dilation")
    pad, step = check_tuple(padding, 2, 0, "padding"), check_tuple(stride, 2, 1, "stride")
    need(max(*size, *gap, *pad, *step) <= 2**16 and len(x.shape) == 4, f"a window over {x}")
    _split(x, 2)
    places = [_count(*one, False) for one in zip(x.shape[2:], size, step, pad, gap, strict=True)]
    return Spec((x.shape[0], x.shape[1] * prod(size), prod(places)), x.dtype)


@rule("""upsample_nearest1d.vec upsample_nearest2d.vec upsample_nearest3d.vec _upsample_nearest_exact1d.vec
      _upsample_nearest_exact2d.vec _upsample_nearest_exact3d.vec""")
def nearest(x: Spec, output_size: Sequence[int] | None, factors: Sequence[float] | None) -> Spec:
    """An image of another size, to which one of the two leads."""
    batch, sides = _split(x, len(x.shape) - 2)
    need((output_size is None) != (factors is None), "either a size or factors are needed")
    given = output_size if factors is None else _sides(sides, factors)
    need(given is not None and len(given) == len(sides), f"{given} for {x}")
    return Spec((*batch, *check_size(given or (), 1)), floating(x))


@rule("upsample_linear1d.vec upsample_bilinear2d.vec upsample_trilinear3d.vec upsample_bicubic2d.vec",
      work=lambda result, *_: _SEEN * 16 * values_in(result))
def linear(x: Spec, output_size: Sequence[int] | None, align_corners: bool, factors: Sequence[float] | None) -> Spec:
    """The same with values in between."""
    return nearest(x, output_size, factors)


def _between(x: Spec, width: int) -> int:
    """How many values stand between the two passes: the rows of the input in the width of the result."""
    return prod(x.shape[:-1]) * width


def _smooth_scratch(x: Spec, output_size: Sequence[int] | None, align_corners: bool, factors: Any) -> int:
    return 2 * x.dtype.itemsize * _between(x, smooth(x, output_size, align_corners, factors).shape[-1])


def _smooth_work(result: Spec, x: Spec, *_: Any) -> int:
    """Two passes; the windows of each take four times what lies in a side, or four values for each of the result."""
    middle = _between(x, result.shape[-1])
    return _SEEN * 4 * (values_in(x) + 2 * middle + values_in(result))


@rule("_upsample_bilinear2d_aa.vec _upsample_bicubic2d_aa.vec", scratch=_smooth_scratch, work=_smooth_work)
def smooth(x: Spec, output_size: Sequence[int] | None, align_corners: bool, factors: Sequence[float] | None) -> Spec:
    """The same with values averaged where the image shrinks: rows first, then columns."""
    return nearest(x, output_size, factors)


def _sides(sides: Sequence[int], factors: Sequence[float]) -> list[int]:
    """Sides by their factors, which are bounded: a kernel reads where they say."""
    need(len(factors) == len(sides) and all(isfinite(f) and 1 / _LARGEST <= f <= _LARGEST for f in factors),
         f"factors {list(factors)}; allowed are 1/{_LARGEST} to {_LARGEST} for {len(sides)} sides")
    return [int(side * factor) for side, factor in zip(sides, factors, strict=True)]
