"""Global: all items of the network compete in one set."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.pruning.scopes.base import Scope


@dataclass(frozen=True)
class Global(Scope):
    """One selection over all layers: layers with many small scores lose more.

    >>> Global().competitors(3)
    [[0, 1, 2]]
    """

    def competitors(self, count: int) -> list[list[int]]:
        """All layers together."""
        return [list(range(count))]
