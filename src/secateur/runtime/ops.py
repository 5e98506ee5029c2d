"""The intermediate representation of the runtime: values and operators of a segment, without torch and layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Value:
    """A tensor between operators: its number and its shape without the batch."""

    id: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Features for one row of the batch."""
        return prod(self.shape)


@dataclass(frozen=True, eq=False)
class Op:
    """One operator: its kind, the module that it came from, its inputs, output, weights, activation and settings."""

    kind: str
    name: str
    inputs: tuple[Value, ...]
    output: Value
    weight: NDArray[np.float32] | None = None
    bias: NDArray[np.float32] | None = None
    act: str = "none"
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def half(self) -> bool:
        """Whether the weights are stored as bf16."""
        return bool(self.settings.get("half", False))

    @cached_property
    def nonzeros(self) -> int:
        """Non-zero weights; NaN counts."""
        return 0 if self.weight is None else int(np.count_nonzero(self.weight != 0))

    @property
    def sparsity(self) -> float | None:
        """The fraction of weights that are zero, or None without weights."""
        return None if self.weight is None else 1 - self.nonzeros / max(1, self.weight.size)


@dataclass(frozen=True, eq=False)
class Segment:
    """A run of operators that runs as one program: its inputs, its operators in order, its outputs."""

    inputs: tuple[Value, ...]
    ops: tuple[Op, ...]
    outputs: tuple[Value, ...]

    def lead(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The sizes of the leading axes of the first input, which are rows; the outputs have the same."""
        return tuple(shape[:len(shape) - len(self.inputs[0].shape)])
