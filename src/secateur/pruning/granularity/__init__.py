"""Granularities: what one item is. One file each, see ``base.py`` for the contract."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any, Literal

from secateur.core import registry
from secateur.pruning.granularity.base import Granularity

GranularityName = Literal["weight", "neuron", "block", "n_m", "4x1", "1x4", "16x4", "2:4"]
GranularityChoice = GranularityName | str | Granularity
"""A name, a size such as ``8x2`` or ``1:4``, ``pkg.module:Class``, or an item with its settings."""

_SIZES = {"block": re.compile(r"(\d+)x(\d+)"), "n_m": re.compile(r"(\d+):(\d+)")}
"""How a size is written: ``4x1`` for blocks of 4 outputs by 1 input, ``2:4`` for 2 of every 4 weights left."""


def resolve(choice: GranularityChoice) -> Granularity:
    """The granularity behind a name, a size, ``pkg.module:Class`` or a class; an item stays as it is.

    Raises:
        SecateurError: an unknown name, or a size that cannot be.

    >>> resolve("16x4"), resolve("2:4").sparsity
    (Block(outputs=16, inputs=4, pooling='mean'), 0.5)
    """
    for name, form in _SIZES.items():
        if isinstance(choice, str) and (sides := form.fullmatch(choice)):
            return registry.get("granularity", name)(*map(int, sides.groups()))
    return registry.item("granularity", choice)


def configure(item: Granularity, **settings: Any) -> Granularity:
    """The granularity with those settings that it has; the others do not concern it.

    >>> configure(resolve("4x1"), pooling="max", round_to=8)
    Block(outputs=4, inputs=1, pooling='max')
    """
    known = {f.name for f in fields(item)}
    return replace(item, **{name: value for name, value in settings.items() if name in known})
