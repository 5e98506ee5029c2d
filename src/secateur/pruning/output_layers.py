"""The layers that make a network's outputs, which stay whole unless a caller lets them go."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn

from secateur import graph
from secateur.core.errors import OutputLayerWarning, UnsupportedError, caller_level
from secateur.core.types import Structure
from secateur.graph.targets import weights

_NORMS = (nn.PReLU, nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.RMSNorm)
"""Modules that learn, but go along with the axis of the layer before them."""
NONE = "no layer makes the last axis of an output, so no output layer is kept whole"
"""What is to be known of a network whose outputs no layer makes."""
_KEEP = "skip=['name'] keeps a layer whole, skip=() confirms that all may be pruned"


def find_output_layers(model: nn.Module, structure: Structure, example: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The layers that alone make the last axis of an output, and what a plan's notes should say of them.

    They are read from the graph, which takes an example; without one from the order of an ``nn.Sequential``.

    Warns:
        OutputLayerWarning: neither says which they are; then no layer is one.
    """
    if structure.groups or example is not None:
        try:
            found = structure if structure.groups else graph.trace_outputs(model, example)
        except UnsupportedError as error:
            return (), (_warn(f"the network cannot be traced ({error})"),)
        unknown = () if found.output_layers or found.output_notes else (NONE,)
        return found.output_layers, (*found.output_notes, *unknown)
    last = _last_of(model) if _is_plain(model) else None
    if last is None:
        return (), (_warn(f"{type(model).__name__} was given without example= and data="),)
    return ((last,) if last else ()), ()


def _warn(why: str) -> str:
    """Warn that no layer is kept for the outputs, and give what the warning says."""
    told = f"{why}, so its output layer is unknown and is pruned like the others: {_KEEP}"
    warnings.warn(told, OutputLayerWarning, stacklevel=caller_level())
    return told


def _is_plain(module: nn.Module) -> bool:
    """Whether a module calls its parts in their order; a class derived from ``nn.Sequential`` may do something else."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _last_of(model: nn.Module) -> str | None:
    """The name of the last layer with weights to cut; empty where there is none, None where that cannot be said."""
    for name, module in reversed(list(model.named_children())):
        # Not by the targets, which name a tied weight once.
        if any(weights(module)):
            return name
        found = _last_of(module) if _is_plain(module) else _transparent(module)
        if found is None or found:
            return found and f"{name}.{found}"
    return ""


def _transparent(module: nn.Module) -> str | None:
    """Empty for a module of torch that leaves the layer before it the maker of the last axis; None for any other."""
    known = type(module).__module__.startswith("torch.nn.modules.") and not list(module.children())
    learns = list(module.parameters()) and not isinstance(module, _NORMS)
    return "" if known and not learns else None
