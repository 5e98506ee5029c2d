"""MLP: a plain network of five layers without biases."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from secateur.models.builtin.base import Network


class Mlp(Network):
    """inputs-1000-1000-500-200-classes, ReLU, no biases: 2,386,000 parameters for MNIST.

    >>> sum(p.numel() for p in Mlp().parameters())
    2386000
    """

    def __init__(self, shape: tuple[int, ...] = (1, 28, 28), classes: int = 10):
        super().__init__(shape, classes)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(prod(shape), 1000, bias=False)
        self.fc2 = nn.Linear(1000, 1000, bias=False)
        self.fc3 = nn.Linear(1000, 500, bias=False)
        self.fc4 = nn.Linear(500, 200, bias=False)
        self.fc5 = nn.Linear(200, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs ``(n, *shape)`` to logits ``(n, classes)``."""
        x = self.flatten(x)
        for layer in (self.fc1, self.fc2, self.fc3, self.fc4):
            x = F.relu(layer(x))
        return self.fc5(x)  # type: ignore[no-any-return]
