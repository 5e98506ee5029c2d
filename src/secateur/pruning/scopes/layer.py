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

    def competitors(self, count: int) -> list[list[int]]:
        """Each layer by itself."""
        return [[i] for i in range(count)]
