"""Layer: the items of each layer compete among themselves."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.pruning.scopes.base import Scope


@dataclass(frozen=True)
class Layer(Scope):
    """Every layer is cut to the same sparsity.

    >>> Layer().competitors(3)
    [[0], [1], [2]]
    """
