"""Weights stored as bf16: half the bytes of every weight, eight significant bits, sums still in f32."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from secateur.core.errors import unknown
from secateur.runtime.ops import Segment

_STORAGES = ("f32", "bf16")
"""Allowed values of the option ``storage``."""


def check_storage(storage: str) -> str:
    """Return the storage where it is known.

    Raises:
        SecateurError: it is unknown; the message names the allowed ones.
    """
    if storage not in _STORAGES:
        raise unknown("storage", storage, _STORAGES)
    return storage


def as_stored(segment: Segment, storage: str) -> Segment:
    """The segment with the weights that a storage keeps: with bf16, each is rounded to eight significant bits."""
    if storage == "f32":
        return segment
    return replace(segment, ops=tuple(op if op.weight is None else replace(
        op, weight=torch.from_numpy(np.ascontiguousarray(op.weight)).bfloat16().float().numpy(),
        settings={**op.settings, "half": True}) for op in segment.ops))


def difference(got: Any, wanted: Any) -> float:
    """The largest difference of two structures of tensors over the largest wanted value; 0 where none is compared.

    >>> difference((torch.ones(2), None), (torch.tensor([1.0, 2.0]), None))
    0.5
    """
    pairs = [(a, b) for a, b in zip(pytree.tree_leaves(got), pytree.tree_leaves(wanted), strict=True)
             if isinstance(a, Tensor) and a.is_floating_point() and a.numel()]
    apart = max((float((a - b).abs().max()) for a, b in pairs), default=0.0)
    most = max((float(b.abs().max()) for _, b in pairs), default=0.0)
    return apart / most if most else apart
