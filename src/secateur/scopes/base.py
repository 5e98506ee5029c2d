"""The contract of a scope: a partition of the layers into sets of competitors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor


class Scope(ABC):
    """Says in which sets the items compete, and with which sparsity each set is cut."""

    @abstractmethod
    def competitors(self, scores: Sequence[Tensor]) -> list[list[int]]:
        """A partition of the layers ``0 .. len(scores) - 1``: one list of layers a set."""

    def sparsities(self, scores: Sequence[Tensor], sparsity: float) -> list[float]:
        """The sparsity of every set; the asked one for all unless a scope allocates."""
        return [sparsity] * len(self.competitors(scores))


CONTRACT = Scope
