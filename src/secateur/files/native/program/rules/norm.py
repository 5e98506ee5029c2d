"""Norms with the statistics of the input, or with stored ones."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from secateur.files.native.program.rules.base import Spec, check_size, floating, need, rule


@rule("layer_norm")
def layer_norm(x: Spec, shape: Sequence[int], weight: Spec | None, bias: Spec | None, eps: float,
               cudnn_enable: bool) -> Spec:
    """Over the last axes."""
    _check(x, shape, eps)
    for one in (weight, bias):
        need(one is None or one.shape == tuple(shape), f"{one} for {list(shape)}")
    return Spec(x.shape, floating(x, weight, bias))


@rule("rms_norm")
def rms_norm(x: Spec, shape: Sequence[int], weight: Spec | None, eps: float | None) -> Spec:
    """The same without a mean."""
    return layer_norm(x, shape, weight, None, eps or 0.0, False)


@rule("group_norm")
def group_norm(x: Spec, groups: int, weight: Spec | None, bias: Spec | None, eps: float, cudnn_enabled: bool) -> Spec:
    """Over the channels of each group."""
    need(len(x.shape) >= 2 and isfinite(eps), f"{x} has no channels")
    check_size((groups, *x.shape[1:]), 1)
    need(x.shape[1] % groups == 0, f"{groups} groups of {x.shape[1]} channels")
    _check_channels(x, weight, bias)
    return Spec(x.shape, floating(x, weight, bias))


@rule("instance_norm")
def instance_norm(x: Spec, weight: Spec | None, bias: Spec | None, mean: Spec | None, var: Spec | None,
                  use_input_stats: bool, momentum: float, eps: float, cudnn_enabled: bool) -> Spec:
    """Over each channel of each entry, or by stored statistics."""
    need((mean is None) == (var is None) == use_input_stats, "statistics of the input change stored ones; allowed is "
                                                             "one of the two")
    need(len(x.shape) >= 3 and isfinite(eps), f"{x} has no channels")
    check_size(x.shape, 1)
    _check_channels(x, weight, bias, mean, var)
    return Spec(x.shape, floating(x, weight, bias, mean, var))


@rule("batch_norm")
def batch_norm(x: Spec, weight: Spec | None, bias: Spec | None, mean: Spec | None, var: Spec | None, training: bool,
               momentum: float, eps: float, cudnn_enabled: bool) -> Spec:
    """By stored statistics, or by those of the batch where none are given: nothing is written."""
    need(len(x.shape) >= 2 and isfinite(eps), f"{x} has no channels")
    need((mean is None) == (var is None) == training, "training changes statistics; allowed is training=False with "
                                                      "both, or training=True with neither")
    check_size(x.shape[1:] if mean else x.shape, 1)
    _check_channels(x, weight, bias, mean, var)
    return Spec(x.shape, floating(x, weight, bias, mean, var))


@rule("_weight_norm")
def weight_norm(v: Spec, g: Spec, dim: int) -> Spec:
    """Directions with lengths: one for each entry of an axis, or one for all at -1."""
    check_size(v.shape, 1)
    axes = len(v.shape)
    need(-1 <= dim < axes and axes > 0, f"axis {dim} of {v}")
    wanted = () if dim == -1 else tuple(size if axis == dim else 1 for axis, size in enumerate(v.shape))
    need(g.shape == wanted, f"lengths {g} of {v} along axis {dim}; expected {list(wanted)}")
    return Spec(v.shape, floating(v, g))


def _check(x: Spec, shape: Sequence[int], eps: float) -> None:
    """Refuse a shape that is not that of the last axes."""
    need(bool(shape) and tuple(shape) == x.shape[len(x.shape) - len(shape):], f"{list(shape)} of {x}")
    need(isfinite(eps), "eps is not finite")
    check_size(shape, 1)


def _check_channels(x: Spec, *given: Any) -> None:
    """Refuse vectors that have not one value a channel."""
    for one in given:
        need(one is None or one.shape == x.shape[1:2], f"{one} for {x.shape[1]} channels")
