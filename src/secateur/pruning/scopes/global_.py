"""Global: all items of the network compete in one set."""

from __future__ import annotations

from dataclasses import dataclass

from secateur.pruning.scopes.base import Scope


@dataclass(frozen=True)
class Global(Scope):
    """Rank the items of all layers together: more is removed from layers with many small scores.

    >>> Global().competitors(3)
    [[0, 1, 2]]
    """

    def competitors(self, count: int) -> list[list[int]]:
        """All layers together."""
        return [list(range(count))]
