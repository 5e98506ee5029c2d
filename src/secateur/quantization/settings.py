"""In how many bits a network computes, as one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn

from secateur.core.errors import SecateurError, unknown
from secateur.core.items import Item
from secateur.quantization.ranges import Ranges

Activations = Literal["static", "dynamic"]
Rounding = Literal["compensated", "nearest"]
Bits = Literal[32, 16, 8]
KeepChoice = Literal["auto"] | Sequence[str | nn.Module]
KEEP_WORDS = "'auto', or a list of names, expressions or modules"


@dataclass(frozen=True)
class Int8(Item):
    """Weights and activations in eight bits: weights symmetric with a scale for each output, activations from 0 to 255
    with a zero point.

    Attributes:
        activations: ``static``: one range for all inputs of a layer, from samples; ``dynamic``: a range for each row
            of each call, which takes no samples and more time.
        ranges: how a static range follows from samples: ``mse``, ``minmax`` or ``percentile``.
        rounding: ``compensated``: weights that are rounded later make up for those that were rounded before, which
            takes samples; ``nearest``.
        keep: what stays in float32: names, expressions or modules; ``"auto"`` takes back the layers that lose most
            where the network's outputs would otherwise differ too much.

    >>> Int8(activations="dynamic").rounding
    'compensated'
    """

    activations: Activations = "static"
    ranges: Ranges = "mse"
    rounding: Rounding = "compensated"
    keep: KeepChoice = "auto"

    def __post_init__(self) -> None:
        for name, kind in (("activations", Activations), ("ranges", Ranges), ("rounding", Rounding)):
            if (value := getattr(self, name)) not in get_args(kind):
                raise unknown(name, str(value), get_args(kind))
        if isinstance(self.keep, str) and self.keep != "auto":
            raise SecateurError(f"keep {self.keep!r}: allowed are {KEEP_WORDS}; did you mean [{self.keep!r}]?")
        if self.keep != "auto":
            object.__setattr__(self, "keep", tuple(self.keep))


BitsChoice = Bits | Int8
"""How many bits, or int8 with its settings."""


def bits_of(value: Any) -> int:
    """How many bits a setting stands for.

    Raises:
        SecateurError: it is none of those.

    >>> bits_of(8), bits_of(Int8()), bits_of(32)
    (8, 8, 32)
    """
    if isinstance(value, Int8):
        return 8
    if isinstance(value, bool) or value not in get_args(Bits):
        raise SecateurError(f"bits {value!r}: allowed are 32 (float32), 16 (bfloat16), 8 (int8), or "
                            "Int8(...) with its settings")
    return int(value)
