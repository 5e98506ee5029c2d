"""The contract of a network: built from the shape of one sample and the number of classes, gives logits."""

from __future__ import annotations

from torch import nn

from secateur.core.errors import SecateurError


class Network(nn.Module):
    """A built-in network: ``Cls(shape, classes)`` takes inputs ``(n, *shape)`` and gives logits ``(n, classes)``.

    Its parameters are drawn from torch's global generator: ``torch.manual_seed`` first makes them repeatable.
    """

    def __init__(self, shape: tuple[int, ...] = (1, 28, 28), classes: int = 10):
        super().__init__()
        self.shape, self.classes = tuple(shape), classes


CONTRACT = Network


def check_image(name: str, shape: tuple[int, ...], least: int) -> None:
    """Refuse samples that are no images, or images of fewer than ``least`` pixels a side.

    Raises:
        SecateurError: they are.
    """
    if len(shape) != 3 or min(shape[1:]) < least:
        raise SecateurError(f"model '{name}' takes images (channels, height, width) of at least {least}x{least} "
                            f"pixels, got samples of shape {tuple(shape)}")
