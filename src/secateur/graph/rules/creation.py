"""Tensors made from nothing."""

from __future__ import annotations

from secateur.graph.rules.base import Call, rule


@rule("zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty", "scalar_tensor")
def uniform(call: Call) -> list[int]:
    """One value everywhere: all axes are free."""
    return [call.axes.leaf(s) for s in call.shapes[0]]


@rule("arange", "eye", "linspace", "rand", "randn", "randint", "randperm", "tril_indices", "triu_indices",
      "hann_window", "logspace")
def enumeration(call: Call) -> list[int]:
    """Values that say where they are: all axes are fixed."""
    return [call.fixed_axis(s, "a constant of the code") for s in call.shapes[0]]
