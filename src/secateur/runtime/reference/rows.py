"""Norms along the features, and fixed factors: twins of ``kernels/rows.py`` and ``scale.py``."""

from __future__ import annotations

import numpy as np

from secateur.runtime.reference.elementwise import activate
from secateur.runtime.reference.tiles import Bytes, floats_at, set_flag, tile, view, write_zeros
from secateur.runtime.schedule.program import KernelStep


def scale(step: KernelStep, arena: Bytes, *_unused: object) -> None:
    """A fixed factor and offset for every plane."""
    target, count, rows, size, plane, line, behind, source, source_plane, source_line, factors, offsets = step.words
    for p, r in np.ndindex(count, rows):
        value = view(arena, source + p * source_plane + r * source_line, size // 4)
        value = value * floats_at(factors, count)[p] + floats_at(offsets, count)[p]
        set_flag(arena, value)
        view(arena, target + p * plane + r * line, size // 4)[:] = activate(step.spec.act, value)
    write_zeros(arena, behind, step.spec.lanes * step.spec.tiles)


def norm(step: KernelStep, arena: Bytes, *_unused: object) -> None:
    """Layer norm, in f64; a variance past f32 raises the flag."""
    source, target, features, behind, factors, offsets = step.words
    spec = step.spec
    value = tile(arena, source, features, spec.width).astype(np.float64)
    set_flag(arena, value.var(0).astype(np.float32))
    value = (value - value.mean(0)) / np.sqrt(value.var(0) + spec.eps)
    value = value * floats_at(factors, features)[:, None] if spec.scale else value
    value = value + floats_at(offsets, features)[:, None] if spec.shift else value
    out = value.astype(np.float32)
    set_flag(arena, out)
    tile(arena, target, features, spec.width)[:] = out
    write_zeros(arena, behind, spec.width)


def softmax(step: KernelStep, arena: Bytes, *_unused: object) -> None:
    """Softmax, in f64."""
    source, target, features, behind = step.words
    value = tile(arena, source, features, step.spec.width).astype(np.float64)
    value = np.exp(value - value.max(0))
    tile(arena, target, features, step.spec.width)[:] = value / value.sum(0)
    write_zeros(arena, behind, step.spec.width)
