"""A linear layer."""

from __future__ import annotations

from torch import Tensor, nn

from secateur.quantization import operators
from secateur.quantization.layers.base import Int8Product


class Int8Linear(Int8Product):
    """:class:`torch.nn.Linear` in eight bits; a row is one vector of inputs.

    >>> import torch
    >>> from secateur.quantization.layers.base import Inputs
    >>> layer = nn.Linear(2, 1)
    >>> with torch.no_grad():
    ...     _ = layer.weight.copy_(torch.tensor([[1.27, -0.5]])), layer.bias.fill_(1.0)
    >>> round(float(Int8Linear.of(layer, Inputs())(torch.tensor([2.55, 0.0]))), 4)
    4.2385
    """

    kinds = (nn.Linear, nn.modules.linear.NonDynamicallyQuantizableLinear)

    @property
    def in_features(self) -> int:
        """How many inputs a row has."""
        return self.codes.shape[1]

    @property
    def out_features(self) -> int:
        """How many outputs a row has."""
        return self.codes.shape[0]

    def row_axes(self, x: Tensor) -> tuple[int, ...]:
        """The last."""
        del x
        return (-1,)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., inputs)`` to ``(..., outputs)``, in the type of ``x``."""
        return operators.linear(x, self.codes, self.scale, self.bias, self.input_scale, self.input_zero)
