"""Discrete Fourier transforms of signals of float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from secateur.files.native.program.rules.base import (
    VALUE,
    Spec,
    check_axes,
    check_axis,
    check_size,
    need,
    rule,
    values_in,
)

_NORMS = (None, "backward", "ortho", "forward")
_KINDS = (torch.float32, torch.complex64)


def _work(result: Spec, x: Spec, *_: Any) -> int:
    """Each value of input and result as often as halves of all make one."""
    count = values_in([x, result])
    return VALUE * count * count.bit_length()


@rule("fft_fft fft_ifft", work=_work)
def along_axis(x: Spec, n: int | None, dim: int, norm: str | None) -> Spec:
    """One axis, cut or padded to ``n``."""
    return _transformed(x, None if n is None else [n], [dim], norm)


@rule("fft_fft2 fft_ifft2 fft_fftn fft_ifftn", work=_work)
def along_axes(x: Spec, s: Sequence[int] | None, dim: Sequence[int] | None, norm: str | None) -> Spec:
    """Several axes."""
    return _transformed(x, s, dim, norm)


@rule("fft_rfft", work=_work)
def real_to_half(x: Spec, n: int | None, dim: int, norm: str | None) -> Spec:
    """Half of the spectrum of a real signal."""
    need(x.dtype == torch.float32, f"{x} is not real")
    axis, found = check_axis(dim, len(x.shape)), along_axis(x, n, dim, norm)
    return Spec(tuple(s // 2 + 1 if i == axis else s for i, s in enumerate(found.shape)), found.dtype)


@rule("fft_irfft", work=_work)
def half_to_real(x: Spec, n: int | None, dim: int, norm: str | None) -> Spec:
    """A real signal from half of its spectrum."""
    axis = check_axis(dim, len(x.shape))
    need(bool(x.shape), "a number is no signal")
    return Spec(along_axis(x, 2 * (x.shape[axis] - 1) if n is None else n, dim, norm).shape, torch.float32)


def _transformed(x: Spec, sizes: Sequence[int] | None, dim: Any, norm: str | None) -> Spec:
    """The spectrum, complex."""
    need(x.dtype in _KINDS and bool(x.shape), f"{x} is no signal of float32")
    need(norm in _NORMS, f"norm is '{str(norm)[:20]}'; allowed: {_NORMS}")
    axes = check_axes(dim, len(x.shape))
    shape = list(x.shape)
    if sizes is not None:
        need(dim is not None and len(sizes) == len(axes), f"sizes {list(sizes)} for axes {axes}")
        for axis, size in zip(axes, sizes, strict=True):
            shape[axis] = size
    check_size([shape[axis] for axis in axes], 1)
    check_size([x.shape[axis] for axis in axes], 1)
    return Spec(tuple(shape), torch.complex64)
