"""The size of a network: parameters, nonzeros, bytes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from secateur.core.modules import stored_tensors


def nonzeros(model: nn.Module) -> dict[str, int]:
    """How many values of each parameter and buffer are not zero, under every name that the tensor has."""
    counts = {id(tensor): int(torch.count_nonzero(tensor)) for _, tensor in tensors(model)}
    return {name: counts[id(tensor)] for name, tensor in stored_tensors(model).items()}


def tensors(model: nn.Module) -> list[tuple[str, Tensor]]:
    """All parameters and buffers with their names; a shared one appears once."""
    return [*model.named_parameters(), *model.named_buffers()]


def learned(model: nn.Module) -> list[tuple[str, Tensor]]:
    """What a network has learned: its parameters, and the codes and biases of int8 layers, which are buffers."""
    codes = [f"{name}.{key}".lstrip(".") for name, module in model.named_modules()
             if any(one is not None and one.dtype == torch.int8 for one in module._buffers.values())
             for key, one in module._buffers.items() if one is not None and key.startswith(("codes", "bias"))]
    buffers = dict(model.named_buffers(remove_duplicate=False))
    return [*model.named_parameters(), *((name, buffers[name]) for name in codes)]


def tensor_bytes(model: nn.Module) -> int:
    """The bytes of all parameters and buffers; their values are not read, which would load memory-mapped ones."""
    return sum(t.numel() * t.element_size() for _, t in tensors(model))


def size(model: nn.Module, counts: dict[str, int] | None = None) -> dict[str, int]:
    """Parameters, non-zeros, and bytes of all parameters and buffers.

    ``bytes`` is the dense storage; ``bytes_sparse`` takes for each tensor the smallest of dense, a
    bitmask with the non-zero values, and compressed sparse rows with 32-bit indices. ``counts`` is
    what :func:`nonzeros` gave, where it is known.

    >>> size(nn.Linear(8, 4, bias=False))["parameters"]
    32
    """
    counts = nonzeros(model) if counts is None else counts
    own = learned(model)
    return {"parameters": sum(tensor.numel() for _, tensor in own),
            "nonzeros": sum(counts[name] for name, _ in own),
            "bytes": tensor_bytes(model),
            "bytes_sparse": sum(sparse_bytes(t, counts[name]) for name, t in tensors(model))}


def has_zeroed_weights(model: nn.Module) -> bool:
    """Whether a tenth or more of some parameter of two axes or more is zero; fewer zeros can be there by chance."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    return any(10 * int(torch.count_nonzero(w)) <= 9 * w.numel() for w in weights)


def sparse_bytes(tensor: Tensor, nonzeros: int) -> int:
    """The fewest bytes that hold a tensor: dense, bitmask + values, or CSR.

    >>> sparse_bytes(torch.eye(64), 64)
    768
    """
    item, n = tensor.element_size(), tensor.numel()
    rows = tensor.shape[0] if tensor.ndim > 1 else 1
    return min(n * item, math.ceil(n / 8) + nonzeros * item, nonzeros * (item + 4) + 4 * (rows + 1))
