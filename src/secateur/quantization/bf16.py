"""Layers whose weights and products are in bfloat16; what lies between them stays as it is."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree


class Bf16Layer(nn.Module):
    """A layer of torch with weights, inputs and outputs in bfloat16; what it gives is in the type of its inputs.

    >>> Bf16Layer(nn.Linear(2, 1))(torch.ones(2)).dtype
    torch.float32
    """

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = copy.deepcopy(layer).to(torch.bfloat16)

    @property
    def weight(self) -> Tensor:
        """The layer's own."""
        return self.layer.weight  # type: ignore[return-value]

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """As the layer, rounded."""
        given, by_name = _cast((inputs, named), torch.bfloat16)
        return _cast(self.layer(*given, **by_name), torch.float32)


def _cast(values: Any, kind: torch.dtype) -> Any:
    return pytree.tree_map_only(Tensor, lambda x: x.to(kind) if x.is_floating_point() else x, values)
