"""The same values in another shape, or some of them. No operator here takes strides or a place in memory."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch

from secateur.files.native.program.rules.base import (
    MOST_AXES,
    Spec,
    broadcast,
    check_axes,
    check_axis,
    check_size,
    need,
    rule,
)


@rule("view _unsafe_view reshape")
def reshaped(x: Spec, size: Sequence[int]) -> Spec:
    """Another shape; one size may be -1."""
    return Spec(_whole(size, prod(x.shape)), x.dtype)


@rule("view_as reshape_as")
def shaped_like(x: Spec, other: Spec) -> Spec:
    """The shape of another tensor."""
    return reshaped(x, other.shape)


@rule("flatten.using_ints")
def flatten(x: Spec, start: int, end: int) -> Spec:
    """Axes as one."""
    first, last = check_axis(start, len(x.shape)), check_axis(end, len(x.shape))
    need(first <= last, f"axes {start} to {end}")
    return Spec((*x.shape[:first], prod(x.shape[first:last + 1]), *x.shape[last + 1:]), x.dtype)


@rule("unflatten.int")
def unflatten(x: Spec, dim: int, sizes: Sequence[int]) -> Spec:
    """An axis as several."""
    axis = check_axis(dim, len(x.shape))
    need(bool(x.shape) and bool(sizes), f"axis {dim} of {x} as {list(sizes)}")
    return Spec((*x.shape[:axis], *_whole(sizes, x.shape[axis]), *x.shape[axis + 1:]), x.dtype)


@rule("transpose.int")
def transpose(x: Spec, first: int, second: int) -> Spec:
    """Two axes exchanged."""
    a, b = check_axis(first, len(x.shape)), check_axis(second, len(x.shape))
    shape = list(x.shape)
    if shape:
        shape[a], shape[b] = shape[b], shape[a]
    return Spec(tuple(shape), x.dtype)


@rule("t")
def matrix_transpose(x: Spec) -> Spec:
    """A matrix with its axes exchanged; a vector as it is."""
    need(len(x.shape) <= 2, f"{x} is no matrix")
    return Spec(x.shape[::-1], x.dtype)


@rule("mT")
def matrices_transpose(x: Spec) -> Spec:
    """Matrices with their axes exchanged."""
    need(len(x.shape) >= 2, f"{x} is no matrix")
    return transpose(x, -1, -2)


@rule("numpy_T")
def reversed_axes(x: Spec) -> Spec:
    """All axes in the other order."""
    return Spec(x.shape[::-1], x.dtype)


@rule("permute")
def permute(x: Spec, dims: Sequence[int]) -> Spec:
    """Axes in another order."""
    need(len(dims) == len(x.shape), f"axes {list(dims)} of {x}")
    return Spec(tuple(x.shape[axis] for axis in check_axes(dims, len(x.shape))), x.dtype)


@rule("movedim.int")
def move(x: Spec, source: int, destination: int) -> Spec:
    """An axis in another place."""
    shape = list(x.shape)
    a, b = check_axis(source, len(shape)), check_axis(destination, len(shape))
    if shape:
        shape.insert(b, shape.pop(a))
    return Spec(tuple(shape), x.dtype)


@rule("expand broadcast_to")
def expand(x: Spec, size: Sequence[int], implicit: bool = False) -> Spec:
    """Axes of one repeated; -1 leaves a size as it is."""
    extra = len(size) - len(x.shape)
    need(extra >= 0 and len(size) <= MOST_AXES, f"{x} as {list(size)}")
    wanted = tuple(x.shape[i - extra] if s == -1 and i >= extra else s for i, s in enumerate(size))
    need(broadcast(x.shape, check_size(wanted)) == wanted, f"{x} as {list(size)}")
    return Spec(wanted, x.dtype)


@rule("expand_as")
def expand_as(x: Spec, other: Spec) -> Spec:
    """The shape of another tensor."""
    return expand(x, other.shape)


@rule("squeeze")
def squeeze(x: Spec) -> Spec:
    """Without axes of one."""
    return Spec(tuple(size for size in x.shape if size != 1), x.dtype)


@rule("squeeze.dim squeeze.dims")
def squeeze_axes(x: Spec, dim: Any) -> Spec:
    """Without some axes where they are of one."""
    axes = {check_axis(axis, len(x.shape)) for axis in ([dim] if isinstance(dim, int) else dim)}
    return Spec(tuple(size for i, size in enumerate(x.shape) if i not in axes or size != 1), x.dtype)


@rule("unsqueeze")
def unsqueeze(x: Spec, dim: int) -> Spec:
    """With an axis of one."""
    axis = check_axis(dim, len(x.shape) + 1)
    need(len(x.shape) < MOST_AXES, f"{x} with one axis more")
    return Spec((*x.shape[:axis], 1, *x.shape[axis:]), x.dtype)


def sliced(size: int, start: int | None, end: int | None, step: int) -> int:
    """How long a part of an axis is."""
    need(step >= 1, f"step {step}")
    return len(range(*slice(start, end, step).indices(size)))


@rule("slice.Tensor slice_copy.Tensor")
def part(x: Spec, dim: int, start: int | None, end: int | None, step: int) -> Spec:
    """A part of an axis."""
    axis = check_axis(dim, len(x.shape))
    need(bool(x.shape), "a number has no parts")
    return Spec((*x.shape[:axis], sliced(x.shape[axis], start, end, step), *x.shape[axis + 1:]), x.dtype)


@rule("narrow")
def narrow(x: Spec, dim: int, start: int, length: int) -> Spec:
    """A part of an axis by its length."""
    axis = check_axis(dim, len(x.shape))
    size = x.shape[axis] if x.shape else 0
    need(bool(x.shape) and -size <= start <= size and 0 <= length <= size - start % max(size, 1) - (
        size if start == size > 0 else 0), f"{length} from {start} of {size}")
    return Spec((*x.shape[:axis], length, *x.shape[axis + 1:]), x.dtype)


@rule("select.int")
def select(x: Spec, dim: int, index: int) -> Spec:
    """One entry of an axis."""
    axis = check_axis(dim, len(x.shape))
    need(bool(x.shape) and -x.shape[axis] <= index < x.shape[axis], f"entry {index} of axis {dim} of {x}")
    return Spec((*x.shape[:axis], *x.shape[axis + 1:]), x.dtype)


@rule("unbind.int")
def unbind(x: Spec, dim: int) -> list[Spec]:
    """Every entry of an axis."""
    axis = check_axis(dim, len(x.shape))
    need(bool(x.shape) and x.shape[axis] <= 2**16, f"every entry of axis {dim} of {x}")
    return [select(x, dim, 0)] * x.shape[axis] if x.shape[axis] else []


@rule("split.Tensor")
def split(x: Spec, size: int, dim: int) -> list[Spec]:
    """An axis in parts of one size, the last one of what is left."""
    axis = check_axis(dim, len(x.shape))
    whole = x.shape[axis] if x.shape else 0
    need(bool(x.shape) and size >= 1 and whole <= size * 2**16, f"parts of {size} of {x}")
    return split_by_sizes(x, [min(size, whole - at) for at in range(0, max(whole, 1), size)], dim)


@rule("split_with_sizes split.sizes")
def split_by_sizes(x: Spec, sizes: Sequence[int], dim: int) -> list[Spec]:
    """An axis in parts of told sizes."""
    axis = check_axis(dim, len(x.shape))
    need(bool(x.shape) and sum(check_size(sizes)) == x.shape[axis], f"parts {list(sizes)[:8]} of axis {dim} of {x}")
    return [Spec((*x.shape[:axis], size, *x.shape[axis + 1:]), x.dtype) for size in sizes]


@rule("chunk")
def chunk(x: Spec, chunks: int, dim: int) -> list[Spec]:
    """An axis in so many parts, or fewer."""
    axis = check_axis(dim, len(x.shape))
    need(bool(x.shape) and 1 <= chunks <= 2**16 and x.shape[axis] >= 1, f"{chunks} parts of {x}")
    return split(x, -(-x.shape[axis] // chunks), dim)


@rule("diagonal")
def diagonal(x: Spec, offset: int, first: int, second: int) -> Spec:
    """The diagonal of two axes, as the last one."""
    a, b = check_axis(first, len(x.shape)), check_axis(second, len(x.shape))
    need(a != b and len(x.shape) > 1, f"axes {first} and {second} of {x}")
    rows, columns = x.shape[a] + min(offset, 0), x.shape[b] - max(offset, 0)
    return Spec((*(s for i, s in enumerate(x.shape) if i not in (a, b)), max(0, min(rows, columns))), x.dtype)


@rule("unfold")
def windows(x: Spec, dim: int, size: int, step: int) -> Spec:
    """Windows over an axis; what is in them is the last axis."""
    axis = check_axis(dim, len(x.shape))
    need(bool(x.shape) and 1 <= size <= x.shape[axis] and step >= 1, f"windows of {size} by {step} over {x}")
    return Spec((*x.shape[:axis], (x.shape[axis] - size) // step + 1, *x.shape[axis + 1:], size), x.dtype)


@rule("view_as_real")
def as_pairs(x: Spec) -> Spec:
    """Complex numbers as pairs."""
    need(x.dtype == torch.complex64, f"{x} is not complex")
    return Spec((*x.shape, 2), torch.float32)


@rule("view_as_complex")
def as_complex(x: Spec) -> Spec:
    """Pairs as complex numbers."""
    need(x.dtype == torch.float32 and x.shape[-1:] == (2,), f"{x} has no pairs")
    return Spec(x.shape[:-1], torch.complex64)


@rule("real imag")
def part_of_complex(x: Spec) -> Spec:
    """One half of complex numbers."""
    need(x.dtype == torch.complex64, f"{x} is not complex")
    return Spec(x.shape, torch.float32)


def _whole(size: Sequence[int], count: int) -> tuple[int, ...]:
    """A shape of so many values, with -1 worked out."""
    known = prod(check_size([s for s in size if s != -1]))
    open_axes = sum(s == -1 for s in size)
    need(open_axes <= 1 and len(size) <= MOST_AXES and (not open_axes or (known > 0 and count % known == 0)),
         f"{count} values as {list(size)[:MOST_AXES]}")
    found = tuple(count // known if s == -1 else s for s in size)
    need(prod(found) == count, f"{count} values as {list(size)[:MOST_AXES]}")
    return found
