"""Scaled dot product attention."""

from __future__ import annotations

from math import isfinite, prod

import torch

from secateur.files.native.program.rules.base import (
    VALUE,
    Spec,
    broadcast,
    check_size,
    floating,
    need,
    product_work,
    rule,
)


def _scores(query: Spec, key: Spec, *_: object) -> int:
    """The memory of the scores, twice: before and after the softmax."""
    return 2 * prod(query.shape[:-1]) * key.shape[-2] * query.dtype.itemsize


def _work(result: Spec, query: Spec, key: Spec, value: Spec, *_: object) -> int:
    """Two products for each score, and its exponential."""
    scores = prod(query.shape[:-1]) * key.shape[-2]
    return product_work(scores * (query.shape[-1] + value.shape[-1]), query.dtype) + VALUE * scores


@rule("scaled_dot_product_attention", scratch=_scores, work=_work)
def attention(query: Spec, key: Spec, value: Spec, mask: Spec | None, dropout: float, is_causal: bool,
              scale: float | None, enable_gqa: bool) -> Spec:
    """``(…, heads, length, width)`` to the same; the width is that of the values."""
    need(dropout == 0, "dropout is random; allowed is 0")
    need(scale is None or isfinite(scale), "scale is not finite")
    kind = floating(query, key, value)
    axes = len(query.shape)
    need(axes >= 2 and len(key.shape) == len(value.shape) == axes, f"{query}, {key}, {value}")
    check_size((*query.shape[1:], *key.shape[1:], *value.shape[1:]), 1)
    need(query.shape[-1] == key.shape[-1] and key.shape[:-1] == value.shape[:-1], f"{query}, {key}, {value}")
    if enable_gqa:
        need(axes >= 4 and query.shape[:-3] == key.shape[:-3] and query.shape[-3] % key.shape[-3] == 0,
             f"heads of {query} and {key}")
    else:
        need(query.shape[:-2] == key.shape[:-2], f"{query} and {key}")
    if mask is not None:
        scores = (*query.shape[:-1], key.shape[-2])
        need(not is_causal and mask.dtype in (torch.bool, kind) and len(mask.shape) >= 2
             and broadcast(mask.shape, scores) == scores, f"mask {mask} for scores {list(scores)}")
    return Spec((*query.shape[:-1], value.shape[-1]), kind)
