"""The layers that are frozen in a network that learns, as a fixed Fourier transform is."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from secateur.core.types import Structure


def find_frozen_layers(model: nn.Module, structure: Structure) -> tuple[str, ...]:
    """The modules with parameters of their own of which none learns, where other parameters of the network do.

    Buffers that make neurons are named by themselves. A network that is frozen as a whole is one that is
    used, not one that is made of constants: none is named.

    >>> net = nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 2))
    >>> find_frozen_layers(net, Structure(())), find_frozen_layers(net.requires_grad_(False), Structure(()))
    (('0',), ())
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        return ()
    own = {name: [p.requires_grad for p in module.parameters(recurse=False)] for name, module in model.named_modules()}
    frozen = [name for name, learns in own.items() if learns and not any(learns)]
    return tuple(dict.fromkeys((*frozen, *_made_by_buffers(model, structure))))


def _made_by_buffers(model: nn.Module, structure: Structure) -> Iterator[str]:
    """The buffers that make units, as a basis does; one that is only added to them makes none."""
    buffers = {name for name, _ in model.named_buffers(remove_duplicate=False)}
    for member in (member for group in structure.groups for member in group.members):
        if member.role == "out" and member.tensor in buffers:
            yield member.tensor
