"""Layer: the items of each layer compete among themselves."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from secateur.scopes.base import Scope


class Layer(Scope):
    """Every layer is cut to the same sparsity.

    >>> Layer().competitors([1, 2, 3])
    [[0], [1], [2]]
    """

    def competitors(self, scores: Sequence[Tensor]) -> list[list[int]]:
        """Each layer by itself."""
        return [[i] for i in range(len(scores))]
