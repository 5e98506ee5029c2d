"""LeNet-300-100: the small fully connected network of the pruning literature."""

from __future__ import annotations

from math import prod

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from secateur.models.builtin.base import Network


class Lenet300100(Network):
    """inputs-300-100-classes with biases and ReLU (LeCun et al., Proceedings of the IEEE 86(11), 1998;
    pruned in Han et al., NeurIPS 2015): 266,610 parameters for MNIST.

    >>> sum(p.numel() for p in Lenet300100().parameters())
    266610
    """

    def __init__(self, shape: tuple[int, ...] = (1, 28, 28), classes: int = 10):
        super().__init__(shape, classes)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(prod(shape), 300)
        self.fc2 = nn.Linear(300, 100)
        self.fc3 = nn.Linear(100, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs ``(n, *shape)`` to logits ``(n, classes)``."""
        x = F.relu(self.fc1(self.flatten(x)))
        return self.fc3(F.relu(self.fc2(x)))  # type: ignore[no-any-return]
