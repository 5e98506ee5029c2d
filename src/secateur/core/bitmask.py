"""Boolean masks packed into bits, eight to a byte."""

from __future__ import annotations

import base64

import numpy as np
import torch
from torch import Tensor


def pack_bits(keep: Tensor) -> str:
    """Booleans as base64 text, eight to a byte."""
    return base64.b64encode(np.packbits(keep.cpu().numpy()).tobytes()).decode()


def unpack_bits(text: str, count: int) -> Tensor:
    """The booleans of :func:`pack_bits`, ``(count,)``."""
    bits = np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=count)
    return torch.from_numpy(bits.astype(bool))
