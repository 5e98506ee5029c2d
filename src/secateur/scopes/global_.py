"""Global: all items of the network compete in one set."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from secateur.scopes.base import Scope


class Global(Scope):
    """One selection over all layers: layers with many small scores lose more.

    >>> Global().competitors([1, 2, 3])
    [[0, 1, 2]]
    """

    def competitors(self, scores: Sequence[Tensor]) -> list[list[int]]:
        """All layers together."""
        return [list(range(len(scores)))]
