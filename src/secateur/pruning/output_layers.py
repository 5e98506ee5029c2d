"""The layers that make a network's outputs, which stay whole unless a caller lets them go."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

from secateur import graph
from secateur.core.errors import OutputLayerWarning, UnsupportedError, caller_level
from secateur.core.types import Structure

_NORMS = (nn.PReLU, nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.RMSNorm)
"""Modules that learn, but go along with the axis of the layer before them."""
_KEEP = "skip=['name'] keeps a layer whole, skip=() says that all may be cut"


def find_output_layers(model: nn.Module, structure: Structure, example: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The layers that alone make the last axis of an output, and what a plan's notes should say of them.

    They are read from the graph, which takes an example; without one from the order of an ``nn.Sequential``.

    Warns:
        OutputLayerWarning: neither says which they are; then no layer is one.
    """
    if structure.groups:
        return structure.output_layers, structure.notes
    if example is not None:
        try:
            found = graph.trace_outputs(model, example)
            return found.output_layers, found.notes
        except UnsupportedError as error:
            _warn(f"the network cannot be traced ({error})")
            return (), ()
    last = _last_of(model) if isinstance(model, nn.Sequential) else None
    if last is None:
        _warn(f"{type(model).__name__} came without example= and data=")
    return ((last,) if last else ()), ()


def _warn(why: str) -> None:
    warnings.warn(f"{why}, so its output layer is not known and every layer is cut: {_KEEP}; with example= (one input) "
                  "it is found", OutputLayerWarning, stacklevel=caller_level())


def _last_of(model: nn.Sequential) -> str | None:
    """The name of the last layer with weights to cut; empty where there is none, None where that cannot be said."""
    layers = {target.module for target in graph.targets(model)}
    for name, module in reversed(list(model.named_children())):
        if name in layers:
            return name
        found = _last_of(module) if isinstance(module, nn.Sequential) else _transparent(module)
        if found is None or found:
            return found and f"{name}.{found}"
    return ""


def _transparent(module: nn.Module) -> str | None:
    """Empty for a module of torch that leaves the layer before it the maker of the last axis; None for any other."""
    known = type(module).__module__.startswith("torch.nn.modules.") and not list(module.children())
    learns = list(module.parameters()) and not isinstance(module, _NORMS)
    return "" if known and not learns else None
