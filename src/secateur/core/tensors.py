"""Tensors as text and as bytes, and tensors within nested values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree


def dtype_name(dtype: torch.dtype) -> str:
    """A type as torch calls it, without ``torch.``.

    >>> dtype_name(torch.bfloat16)
    'bfloat16'
    """
    return str(dtype).removeprefix("torch.")


def type_and_shape(tensor: Tensor) -> str:
    """Type and shape as text.

    >>> type_and_shape(torch.zeros(4, 3))
    'float32[4, 3]'
    """
    return f"{dtype_name(tensor.dtype)}{list(tensor.shape)}"


def raw_bytes(tensor: Tensor) -> Tensor:
    """The bytes of a tensor in memory order of its axes, ``(bytes,)`` of uint8; shares memory where it can."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8)


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same type, shape and bits; a NaN equals itself, and 0 differs from -0.

    >>> same_bits(torch.tensor([torch.nan]), torch.tensor([torch.nan])), same_bits(torch.ones(2), torch.ones(2, 1))
    (True, False)
    """
    return (one.dtype, one.shape) == (other.dtype, other.shape) and torch.equal(raw_bytes(one), raw_bytes(other))


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors of a nested value, such as a network's outputs, in order."""
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]


def to_device(value: Any, device: torch.device | str) -> Any:
    """A nested value with its tensors on a device; whatever is no tensor stays as it is."""
    return pytree.tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, value)
