"""Activations, and one or two values entry by entry: twins of ``kernels/activation.py`` and ``pointwise.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from secateur.runtime.reference.tiles import Bytes, Floats, set_flag, view
from secateur.runtime.schedule.program import KernelStep

_erf = np.vectorize(math.erf, otypes=[np.float64])

ACTIVATIONS: dict[str, Callable[[Any, float], Any]] = {
    "none": lambda x, _: x,
    "relu": lambda x, _: np.where(x < 0, 0, x),
    "relu6": lambda x, _: np.where(x < 0, 0, np.where(x > 6, 6, x)),
    "leaky_relu": lambda x, slope: np.where(x < 0, slope * x, x),
    "sigmoid": lambda x, _: 1 / (1 + np.exp(-x)),
    "silu": lambda x, _: x / (1 + np.exp(-x)),
    "tanh": lambda x, _: np.tanh(x),
    "gelu": lambda x, _: x * (1 + _erf(x * math.sqrt(0.5))) / 2,
    "gelu_tanh": lambda x, _: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "hardsigmoid": lambda x, _: np.clip(x + 3, 0, 6) / 6,
    "hardswish": lambda x, _: x * np.clip(x + 3, 0, 6) / 6,
}


def activate(name: str, x: Floats) -> Floats:
    """An activation by name, computed in f64."""
    kind, _, number = name.partition(":")
    return np.asarray(ACTIVATIONS[kind](x.astype(np.float64), float(number or 0)), np.float32)


def combine(kind: str, values: Sequence[Floats]) -> Floats:
    """One value as it is, two joined by ``add``, ``sub``, ``mul`` or ``div``."""
    join = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}[kind]
    return np.array(values[0] if len(values) == 1 else join(*values), np.float32)


def pointwise(step: KernelStep, arena: Bytes, *_unused: object) -> None:
    """An activation of one value, or of two joined."""
    target, count, *sources = step.words
    total = combine(step.spec.kind, [view(arena, source, count) for source in sources])
    set_flag(arena, total)
    view(arena, target, count)[:] = activate(step.spec.act, total)
    view(arena, target + 4 * count, step.spec.width)[:] = 0
