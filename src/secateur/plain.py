"""A network as what is timed and compiled takes it: inputs one by one, tensors out."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree


class Plain(nn.Module):
    """A network whose keyword inputs are given by place, and whose outputs are its tensors in a tuple.

    >>> import torch
    >>> [tuple(t.shape) for t in Plain(nn.Linear(3, 2), ("input",))(torch.zeros(4, 3))]
    [(4, 2)]
    """

    def __init__(self, network: nn.Module, names: tuple[str, ...] = ()):
        super().__init__()
        self.network, self.names = network, names

    def forward(self, *inputs: Tensor) -> Any:
        """The tensors that the network gives."""
        given = self.network(**dict(zip(self.names, inputs, strict=True))) if self.names else self.network(*inputs)
        return tuple(v for v in pytree.tree_leaves(given) if isinstance(v, Tensor))
