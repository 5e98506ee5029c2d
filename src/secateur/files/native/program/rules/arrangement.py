"""Values put beside each other, repeated, turned, padded, and put into parts of other tensors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod
from typing import Any

import torch

from secateur.files.native.program.rules.base import (
    MOST_AXES,
    Spec,
    check_axes,
    check_axis,
    check_size,
    floating,
    need,
    rule,
)
from secateur.files.native.program.rules.views import part, select

_MODES = ("constant", "reflect", "replicate", "circular")
_MOST_OFFSET = 2**31


@rule("cat")
def cat(tensors: Sequence[Spec], dim: int) -> Spec:
    """Tensors one after the other; empty ones of one axis count for nothing."""
    given = [one for one in tensors if one.shape != (0,)] or list(tensors[:1])
    need(bool(given) and bool(given[0].shape), "nothing to put together")
    first = given[0]
    axis = check_axis(dim, len(first.shape))
    need(all(len(one.shape) == len(first.shape) and _but(one, axis) == _but(first, axis) for one in given),
         f"tensors {given[:8]} one after the other")
    kind = reduce(torch.promote_types, (one.dtype for one in tensors))
    return Spec((*first.shape[:axis], sum(one.shape[axis] for one in given), *first.shape[axis + 1:]), kind)


@rule("stack")
def stack(tensors: Sequence[Spec], dim: int) -> Spec:
    """Tensors along a new axis."""
    need(bool(tensors) and all(one.shape == tensors[0].shape for one in tensors), f"tensors {list(tensors)[:8]}")
    axis = check_axis(dim, len(tensors[0].shape) + 1)
    kind = reduce(torch.promote_types, (one.dtype for one in tensors))
    return Spec((*tensors[0].shape[:axis], len(tensors), *tensors[0].shape[axis:]), kind)


@rule("repeat tile")
def repeat(x: Spec, repeats: Sequence[int]) -> Spec:
    """Every axis so many times."""
    extra = len(repeats) - len(x.shape)
    need(extra >= 0 and len(repeats) <= MOST_AXES, f"{x} repeated {list(repeats)[:MOST_AXES]}")
    shape = (1,) * extra + x.shape
    return Spec(tuple(s * r for s, r in zip(shape, check_size(repeats), strict=True)), x.dtype)


@rule("repeat_interleave.self_int")
def repeat_each(x: Spec, repeats: int, dim: int | None, output_size: int | None) -> Spec:
    """Every entry of an axis so many times."""
    need(output_size is None and dim is not None and bool(x.shape), "an axis is needed")
    axis = check_axis(dim or 0, len(x.shape))
    check_size([repeats])
    return Spec((*x.shape[:axis], x.shape[axis] * repeats, *x.shape[axis + 1:]), x.dtype)


@rule("flip")
def flip(x: Spec, dims: Sequence[int]) -> Spec:
    """Axes from behind."""
    if dims:
        check_axes(dims, len(x.shape))
    return x


@rule("roll")
def roll(x: Spec, shifts: Sequence[int], dims: Sequence[int]) -> Spec:
    """Axes turned around."""
    need(all(abs(shift) < _MOST_OFFSET for shift in shifts), f"shifts {list(shifts)}")
    need(len(shifts) == (len(dims) or 1), f"shifts {list(shifts)} for axes {list(dims)}")
    for axis in dims:
        check_axis(axis, len(x.shape))
    return x


@rule("tril triu")
def triangle(x: Spec, offset: int) -> Spec:
    """What is below or above a diagonal."""
    need(len(x.shape) >= 2 and abs(offset) < _MOST_OFFSET, f"diagonal {offset} of {x}")
    return x


@rule("pixel_shuffle")
def pixel_shuffle(x: Spec, factor: int) -> Spec:
    """Channels as pixels."""
    need(len(x.shape) >= 3 and 1 <= factor <= 2**16, f"factor {factor} for {x}")
    *batch, channels, height, width = x.shape
    need(channels % factor**2 == 0, f"{channels} channels as {factor}×{factor} pixels")
    return Spec((*batch, channels // factor**2, height * factor, width * factor), x.dtype)


@rule("pixel_unshuffle")
def pixel_unshuffle(x: Spec, factor: int) -> Spec:
    """Pixels as channels."""
    need(len(x.shape) >= 3 and 1 <= factor <= 2**16, f"factor {factor} for {x}")
    *batch, channels, height, width = x.shape
    check_size(x.shape, 1)
    need(height % factor == width % factor == 0, f"{x} in squares of {factor}×{factor}")
    return Spec((*batch, channels * factor**2, height // factor, width // factor), x.dtype)


@rule("channel_shuffle")
def channel_shuffle(x: Spec, groups: int) -> Spec:
    """The channels of groups in turn."""
    need(len(x.shape) >= 3 and groups >= 1 and x.shape[1] % groups == 0, f"{groups} groups of {x}")
    check_size(x.shape[1:], 1)
    return x


@rule("meshgrid.indexing")
def grid(tensors: Sequence[Spec], indexing: str) -> list[Spec]:
    """Every combination of values of vectors."""
    need(indexing in ("ij", "xy"), f"indexing is '{indexing[:20]}'; allowed: ij, xy")
    need(0 < len(tensors) <= MOST_AXES and all(len(x.shape) <= 1 and x.dtype == tensors[0].dtype for x in tensors),
         f"vectors {list(tensors)[:8]}")
    shape = [prod(x.shape) for x in tensors]
    if indexing == "xy" and len(shape) > 1:
        shape[:2] = shape[1], shape[0]
    return [Spec(tuple(shape), tensors[0].dtype)] * len(shape)


@rule("constant_pad_nd")
def pad_with_number(x: Spec, pad: Sequence[int], value: Any) -> Spec:
    """A number around, the last axis first; what is negative is taken away."""
    need(len(pad) % 2 == 0 and len(pad) <= 2 * len(x.shape), f"edges {list(pad)[:16]} of {x}")
    shape = list(x.shape)
    for back in range(len(pad) // 2):
        shape[-1 - back] = check_size([shape[-1 - back] + pad[2 * back] + pad[2 * back + 1]])[0]
        need(max(0, -pad[2 * back]) + max(0, -pad[2 * back + 1]) <= x.shape[-1 - back], f"edges {list(pad)} of {x}")
    return Spec(tuple(shape), x.dtype)


@rule("pad")
def pad(x: Spec, edges: Sequence[int], mode: str, value: float | None) -> Spec:
    """Edges of numbers, or of the values themselves."""
    need(mode in _MODES, f"mode is '{mode[:20]}'; allowed: {', '.join(_MODES)}")
    if mode != "constant":
        axes = len(edges) // 2
        check_size(x.shape[-axes - 1:], 1)
        need(axes in (1, 2, 3) and len(x.shape) in (axes + 1, axes + 2) and min(edges) >= 0, f"{list(edges)} of {x}")
        room = {"reflect": -1, "circular": 0}
        need(mode not in room or all(edge <= x.shape[-1 - i // 2] + room[mode] for i, edge in enumerate(edges)),
             f"edges {list(edges)} are wider than {x}")
        floating(x)
    return pad_with_number(x, edges, value)


@rule("slice_scatter")
def put_part(x: Spec, source: Spec, dim: int, start: int | None, end: int | None, step: int) -> Spec:
    """Values put into a part of an axis."""
    need(part(x, dim, start, end, step) == source, f"{source} into a part of {x}")
    return x


@rule("select_scatter")
def put_entry(x: Spec, source: Spec, dim: int, index: int) -> Spec:
    """Values put into one entry of an axis."""
    need(select(x, dim, index) == source, f"{source} into an entry of {x}")
    return x


def _but(x: Spec, axis: int) -> tuple[int, ...]:
    """A shape without one axis."""
    return (*x.shape[:axis], *x.shape[axis + 1:])
