"""Granularities: what one item is. One file each, see ``base.py`` for the contract."""

from __future__ import annotations

import re

from secateur.core import registry
from secateur.core.errors import unknown
from secateur.pruning.granularity.base import Granularity

WRITTEN = {"block": re.compile(r"(\d+)x(\d+)"), "n_m": re.compile(r"(\d+):(\d+)")}
"""How a size is written: ``4x1`` for blocks of 4 outputs by 1 input, ``2:4`` for 2 of every 4 weights left."""


def resolve(written: str) -> Granularity:
    """The granularity behind a name (``weight``, ``neuron``, ``block``, ``n_m``) or a size (``4x1``, ``2:4``).

    Raises:
        SecateurError: an unknown name, or a size that cannot be.

    >>> resolve("16x4"), resolve("2:4").sparsity
    (Block(outputs=16, inputs=4), 0.5)
    """
    if not isinstance(written, str):
        raise unknown("granularity", repr(written), [*registry.files("granularity"), "4x1", "2:4"])
    for name, form in WRITTEN.items():
        if found := form.fullmatch(written):
            item: Granularity = registry.get("granularity", name)(*map(int, found.groups()))
            return item
    made: Granularity = registry.get("granularity", written)()
    return made
