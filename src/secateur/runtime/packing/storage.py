"""Weights stored as bf16: half the bytes of every weight, eight significant bits, sums still in f32."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

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
