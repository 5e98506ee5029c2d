"""Which layers of a network have a form in eight bits, and why others have none."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache

from torch import nn

from secateur.quantization import layers
from secateur.quantization.layers.base import Int8Layer


@cache
def int8_kinds() -> dict[type[nn.Module], type[Int8Layer]]:
    """The class in eight bits for each class of torch.

    >>> int8_kinds()[nn.Conv2d].__name__
    'Int8Conv'
    """
    found = dict[type[nn.Module], type[Int8Layer]]()
    for module in pkgutil.iter_modules(layers.__path__):
        home = importlib.import_module(f"{layers.__name__}.{module.name}")
        for kind in vars(home).values():
            if inspect.isclass(kind) and issubclass(kind, Int8Layer) and kind.__module__ == home.__name__:
                found |= dict.fromkeys(kind.kinds, kind)
    return found


def kind_of(module: nn.Module) -> type[Int8Layer] | None:
    """The class in eight bits that a module may get; None where it has none.

    A subclass counts for the class of torch whose forward it has.
    """
    return next((kind for base, kind in int8_kinds().items() if isinstance(module, base)
                 and type(module).forward is base.forward), None)


def refusals(model: nn.Module) -> dict[str, str]:
    """The layers with weights that stay in float32, by name, with the reason as a clause.

    >>> refusals(nn.Sequential(nn.Linear(2, 2), nn.ConvTranspose1d(2, 2, 3)))
    {'1': 'a ConvTranspose1d has no form in eight bits'}
    """
    inside = {name: outer for outer, module in model.named_modules() if isinstance(module, nn.MultiheadAttention)
              for name in _names_below(outer, module)}
    found = dict[str, str]()
    for name, module in model.named_modules():
        if name in inside:
            found[name] = f"'{inside[name]}' reads its weight without calling it"
        elif any(p.ndim > 1 for p in module.parameters(recurse=False)) and (why := _refusal(module)):
            found[name] = why
        elif hasattr(module, "parametrizations"):
            found[name] = "a parametrization makes its weight"
    return found


def _names_below(outer: str, module: nn.Module) -> list[str]:
    return [f"{outer}.{name}" if outer else name for name, _ in module.named_modules() if name]


def _refusal(module: nn.Module) -> str:
    """Why a module that holds weights has no form in eight bits; empty where it has one."""
    kind = kind_of(module)
    if kind is None:
        own = any(isinstance(module, base) for base in int8_kinds())
        return (f"a {type(module).__name__} computes its outputs in its own way" if own else
                f"a {type(module).__name__} has no form in eight bits")
    if module._forward_hooks or module._forward_pre_hooks:
        return "hooks take part in its calls"
    return kind.refusal(module)
