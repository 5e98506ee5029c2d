"""Names that a setting allows and that code of a higher room gives a meaning: the command's help shows them without
importing that room."""

from __future__ import annotations

from typing import Literal, get_args

Pooling = Literal["mean", "sum", "max"]
"""How several scores become one."""

POOLINGS = get_args(Pooling)

RuntimeEngine = Literal["kernels", "csr", "torch"]
"""What runs a network with zeros: our kernels, torch's CSR, torch dense."""

RUNTIME_ENGINES = get_args(RuntimeEngine)

BITS = (32, 16, 8)
"""In how many bits a network computes: float32, bfloat16, int8."""

Goal = Literal["size", "speed"]
"""What a search looks for: the smallest file, or the fastest call."""

GOALS = get_args(Goal)
