"""What a network takes: shapes, types and bounds of its inputs, and inputs drawn from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from secateur.core import pytree
from secateur.core.bitmask import pack_bits, unpack_bits
from secateur.core.tensors import dtype_name


def outline(example: Any) -> str:
    """The inputs of a network as JSON without their values; empty where one is neither tensor nor plain value."""
    try:
        return json.dumps(pytree.flatten(example, leaf), allow_nan=False)
    except (TypeError, ValueError):
        return ""


def leaf(value: Any) -> dict[str, Any]:
    """One input: type and shape; the bounds of whole numbers, the values of booleans and of what is no tensor."""
    if type(value) in pytree.PLAIN:
        return {"value": value}
    if not isinstance(value, Tensor):
        raise TypeError(f"{type(value).__name__} is neither a tensor nor a plain value")
    found: dict[str, Any] = {"dtype": dtype_name(value.dtype), "shape": list(value.shape)}
    if value.dtype == torch.bool:
        return found | {"bits": pack_bits(value.flatten())}
    if value.is_floating_point() or value.is_complex():
        return found
    return found | {"least": int(value.min()), "most": int(value.max())}


def sketched(text: str, device: torch.device) -> Any:
    """Inputs of those shapes and types: numbers in [0, 1), whole ones between the bounds, the same each time."""
    generator = torch.Generator().manual_seed(0)
    return pytree.unflatten(json.loads(text), lambda told: drawn(told, generator, device))


def between(least: int, most: int, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Random whole numbers from ``least`` to ``most``. Rows of a mask, of noughts and ones, begin with a one: a row
    that is hidden as a whole has no outputs that two runtimes would agree on.

    >>> between(0, 1, (2, 3), torch.Generator().manual_seed(0))[:, 0].tolist()
    [1, 1]
    """
    made = torch.randint(least, most + 1, tuple(shape), generator=generator)
    if (least, most) == (0, 1) and made.ndim > 1 and made.numel():
        made[..., 0] = 1
    return made


def drawn(told: dict[str, Any], generator: torch.Generator, device: torch.device) -> Any:
    """One input."""
    if "value" in told:
        return told["value"]
    kind, shape = getattr(torch, told["dtype"]), told["shape"]
    if "bits" in told:
        made = unpack_bits(told["bits"], int(np.prod(shape, dtype=int))).view(shape)
    elif "least" in told:
        made = between(told["least"], told["most"], shape, generator).to(kind)
    else:
        made = torch.rand(shape, generator=generator, dtype=kind if kind.is_complex else torch.float64).to(kind)
    return made.to(device)
