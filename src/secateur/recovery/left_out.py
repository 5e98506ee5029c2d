"""Which layers a refit leaves as the cut left them, and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from secateur.core.text import join_first
from secateur.pruning.signals.formula import own_formulas
from secateur.recovery.methods.base import RecoveryContext

CALLED_AGAIN = "called again"
"""Stands among the readers of a layer that is called more than once."""
_NAMED = 5
"""So many layers are named in one note."""
_Readers = Mapping[str, Collection[Any]]


def is_frozen(module: nn.Module) -> bool:
    """Whether a parameter of a layer's own is not to be changed (``requires_grad`` is False)."""
    return any(not parameter.requires_grad for parameter in module.parameters(recurse=False))


def left_out(context: RecoveryContext, readers: _Readers, before: _Readers) -> dict[str, str]:
    """The layers that are not refitted, with the reason, in the order of the modules.

    ``readers`` and ``before`` give what reads each layer that the cut network and the original call.
    """
    original, pruned = dict(context.original.named_modules()), dict(context.pruned.named_modules())
    users = Counter(id(parameter) for module in pruned.values() for parameter in module.parameters(recurse=False))
    cut = {name.rpartition(".")[0] for name in context.masks}
    found = dict[str, str]()
    for name, module in pruned.items():
        layer = isinstance(module, (nn.Linear, _ConvNd))
        if (layer or name in cut) and (why := _reason(name, module, original.get(name), readers, before, users)):
            found[name] = why
    odd = own_formulas(context.pruned, [name for name in readers if name not in found], next(iter(context.data)))
    return {name: found.get(name) or f"it {odd[name]}" for name in pruned if name in found or name in odd}


def _reason(name: str, module: nn.Module, whole: nn.Module | None, readers: _Readers, before: _Readers,
            users: Mapping[int, int]) -> str:
    """Why a layer is not refitted, whatever it computes; empty where it may be."""
    if whole is not None and is_frozen(whole):
        return "it is frozen (requires_grad is False)"
    if not isinstance(module, (nn.Linear, _ConvNd)) or isinstance(module, _ConvTransposeNd):
        return "only linear layers and convolutions that are not transposed can be refitted"
    if "weight" not in module._parameters:
        return "a parametrization makes its weight"
    if users[id(module.weight)] > 1:
        return "it shares its weight with another layer"
    if name not in readers or name not in before:
        return "it is never called as a module"
    return "it is called more than once" if CALLED_AGAIN in (*readers[name], *before[name]) else ""


def layer_notes(what: str, model: nn.Module, reasons: Mapping[str, str]) -> Iterator[str]:
    """A note for each reason, with the names and classes of the layers.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.GRU(2, 2))
    >>> list(layer_notes("not refitted", net, {"0": "it is frozen", "1": "it is recurrent"}))
    ["not refitted: '0' (Linear): it is frozen", "not refitted: '1' (GRU): it is recurrent"]
    """
    named = defaultdict[str, list[str]](list)
    for name, reason in reasons.items():
        named[reason].append(f"'{name}' ({type(model.get_submodule(name)).__name__})")
    for reason, names in named.items():
        yield f"{what}: {join_first(names, _NAMED)}: {reason}"
