"""Zeros become milliseconds: a pruned network in, a module with the same outputs and sparse kernels out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from secateur.errors import unknown
from secateur.runtime.base import Compiled, check_model
from secateur.runtime.csr import CsrNetwork

ENGINES: dict[str, Callable[[nn.Module, tuple[Any, ...]], Compiled]] = {"csr": CsrNetwork}
BEST = "csr"

__all__ = ["ENGINES", "Compiled", "compile"]


def compile(model: nn.Module, example: Any, engine: str | None = None) -> Compiled:
    """A module with the same outputs that skips the network's zeros; inference only, on the CPU.

    Args:
        model: a float32 network on the CPU; it is copied and stays as it is.
        example: one input of the network, or a tuple of them. The batch (the first axis) may differ later.
        engine: ``csr`` (torch CSR), or None for the best one available.

    Raises:
        SecateurError: an unknown engine, a model or example that cannot be compiled.

    >>> import torch
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> _ = net[0].weight.data.masked_fill_(net[0].weight.abs() < 0.25, 0)
    >>> x = torch.ones(5, 4)
    >>> torch.allclose(compile(net, x, engine="csr")(x), net(x))
    True
    """
    name = BEST if engine is None else engine
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    return ENGINES[name](model, check_model(model, example))
