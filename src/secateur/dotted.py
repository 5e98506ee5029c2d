"""Dotted names: what lies under one, and the module that one lies in."""

from __future__ import annotations

import operator
from typing import Any

from torch import nn


def at(root: Any, name: str) -> Any:
    """What lies under a dotted name.

    Raises:
        AttributeError: nothing does.
    """
    return operator.attrgetter(name)(root)


def place_in(root: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that a dotted name lies in, made where it is not there, and the name's last part.

    Raises:
        KeyError: a part of the way is one that no module can have as a module's name.

    >>> root = nn.Module()
    >>> home, last = place_in(root, "encoder.fc.weight")
    >>> home is root.encoder.fc, last
    (True, 'weight')
    """
    *path, last = name.split(".")
    for part in path:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    return root, last
