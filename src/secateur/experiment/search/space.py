"""What is searched: sparsities, granularities and bits, each one value or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from secateur.core.bounds import check_sparsity
from secateur.core.errors import SecateurError
from secateur.pruning.granularity import GranularityChoice, resolve
from secateur.quantization.settings import Int8, bits_of

GRID = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
KINDS = ("weight", "1x4", "neuron")
BITS = (32, 8)


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        sparsities: in rising order.
        granularities: names or items.
        bits: from many to few.

    Raises:
        SecateurError: a value that is not allowed, or none.
    """

    sparsities: tuple[float, ...] = GRID
    granularities: tuple[GranularityChoice, ...] = KINDS
    bits: tuple[int, ...] = BITS

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            if not values:
                raise SecateurError(f"search: {name} is empty; allowed is at least one value")
        object.__setattr__(self, "sparsities", tuple(sorted({check_sparsity(one) for one in self.sparsities} - {0.0})))
        for one in self.granularities:
            resolve(one)
        if settings := [one for one in self.bits if isinstance(one, Int8)]:
            raise SecateurError(f"search: bits {settings[0]}; allowed are 32, 16 and 8, with int8's usual "
                                "settings")
        object.__setattr__(self, "bits", tuple(sorted({bits_of(one) for one in self.bits}, reverse=True)))

    def grid(self, granularity: Any) -> tuple[float, ...]:
        """The sparsities of a granularity: that of N:M is its own."""
        own = resolve(granularity).sparsity
        return self.sparsities if own is None else (own,)


def several(value: Any, usual: tuple[Any, ...]) -> tuple[Any, ...]:
    """One value or several as a tuple; the usual ones where none was given.

    >>> several("weight", KINDS), several([0.5, 0.9], GRID), several(None, BITS)
    (('weight',), (0.5, 0.9), (32, 8))
    """
    if value is None:
        return usual
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
