"""The contract of a criterion: weights in, one score an item out; higher means keep."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from secateur.signals import Signals


class Criterion(ABC):
    """Gives each item a score.

    ``granularities`` names the granularities that it can score, ``needs`` the fields of
    :class:`~secateur.signals.Signals` that it reads, ``control`` whether it is a baseline rather
    than a method to use.
    """

    granularities: ClassVar[frozenset[str]]
    needs: ClassVar[frozenset[str]] = frozenset()
    control: ClassVar[bool] = False

    @abstractmethod
    def score(self, weight: Tensor, signals: Signals) -> Tensor:
        """Score the items of one tensor.

        Args:
            weight: for ``weight``, the tensor in its own shape; for ``neuron``, a matrix with one
                row a unit, ``(units, values)``.
            signals: what the criterion declared in ``needs``.

        Returns:
            One score an item: the shape of ``weight``, or ``(units,)``. Higher means keep.
        """


CONTRACT = Criterion
