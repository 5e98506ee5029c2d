"""The contract of a network: built from the shape of one sample and the number of classes, gives logits."""

from __future__ import annotations

from torch import nn


class Network(nn.Module):
    """A built-in network: ``Cls(shape, classes)`` takes inputs ``(n, *shape)`` and gives logits ``(n, classes)``.

    Its parameters are drawn from torch's global generator: ``torch.manual_seed`` first makes them repeatable.
    """

    def __init__(self, shape: tuple[int, ...] = (1, 28, 28), classes: int = 10):
        super().__init__()
        self.shape, self.classes = tuple(shape), classes


CONTRACT = Network
