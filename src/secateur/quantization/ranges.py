"""The range of a layer's inputs, from samples: what codes from 0 to 255 have to cover."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from secateur.core.errors import SecateurError, unknown
from secateur.quantization.arithmetic import TOP, activation_codes

Ranges = Literal["mse", "minmax", "percentile"]
_KEPT = 1 << 16
"""Values of a layer's inputs that are kept, drawn at random, to choose a range by."""
_TAIL = 1e-4
"""The part of the values that ``percentile`` leaves out at either end."""
_CLIPS = 64
"""The ranges that ``mse`` tries at either end."""


@dataclass(frozen=True)
class Range:
    """The least and the greatest value that have a code of their own; 0 lies between them, and is met exactly.

    >>> found = Range(-1.0, 1.55)
    >>> round(found.scale, 6), found.zero
    (0.01, 100)
    """

    low: float
    high: float

    @property
    def scale(self) -> float:
        """The distance of two codes; where all values are 0 that of values up to 1, because biases are multiples of it.
        """
        return (self.high - self.low if self.high > self.low else 1.0) / TOP

    @property
    def zero(self) -> int:
        """The code of 0."""
        return min(TOP, max(0, round(-self.low / self.scale)))

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point, float32 and uint8 of no axes."""
        return torch.tensor(self.scale, dtype=torch.float32), torch.tensor(self.zero, dtype=torch.uint8)


@dataclass(eq=False)
class Observer:
    """Sees the inputs of a layer, batch by batch, and gives their range.

    Attributes:
        seed: of the draw of the values that are kept.
        low, high: the least and the greatest value so far, 0 among them.
    """

    seed: int = 0
    low: float = 0.0
    high: float = 0.0
    _kept: list[Tensor] = field(default_factory=list)
    _seen: int = 0

    def __post_init__(self) -> None:
        self._generator = torch.Generator().manual_seed(self.seed)

    def see(self, x: Tensor) -> None:
        """Take one batch into account.

        Raises:
            SecateurError: it holds NaN or infinite values.
        """
        values = x.detach().float().flatten()
        if not values.numel():
            return
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise SecateurError("its inputs hold NaN or infinite values for data")
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._seen += values.numel()
        if values.numel() > _KEPT:
            values = values[torch.randint(values.numel(), (_KEPT,), generator=self._generator).to(values.device)]
        self._kept.append(values.cpu())

    def range(self, how: Ranges = "mse") -> Range:
        """The range of what was seen.

        Args:
            how: ``minmax``: all of it; ``percentile``: all but a ten-thousandth at either end; ``mse``: the one with
                which rounding makes the least squared error.

        Raises:
            SecateurError: nothing was seen, or an unknown name.
        """
        if how not in get_args(Ranges):
            raise unknown("ranges", how, get_args(Ranges))
        if not self._seen:
            raise SecateurError("it was not called with data")
        whole = Range(self.low, self.high)
        if how == "minmax" or self.low == self.high:
            return whole
        values = self._drawn()
        if how == "percentile":
            low, high = torch.quantile(values[:1 << 24], torch.tensor([_TAIL, 1 - _TAIL])).tolist()
            return Range(min(low, 0.0), max(high, 0.0)) if high > 0 or low < 0 else whole
        return _least_error(values, whole)

    def _drawn(self) -> Tensor:
        values = torch.cat(self._kept)
        if len(values) > _KEPT:
            values = values[torch.randperm(len(values), generator=self._generator)[:_KEPT]]
        return values


def _least_error(values: Tensor, whole: Range) -> Range:
    """The range with which rounding makes the least squared error: first both ends move together, then each."""
    def error(found: Range) -> float:
        scale, zero = found.tensors()
        return float((activation_codes(values, scale, zero) * scale - values).square().sum())

    parts = [1 - i / _CLIPS for i in range(_CLIPS)]
    best = min((Range(whole.low * part, whole.high * part) for part in parts), key=error)
    best = min((Range(best.low, min(whole.high, best.high * (0.5 + part))) for part in parts), key=error)
    return min((Range(max(whole.low, best.low * (0.5 + part)), best.high) for part in parts), key=error)
