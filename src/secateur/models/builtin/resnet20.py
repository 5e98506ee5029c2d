"""ResNet-20, the small residual network of the CIFAR experiments."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from secateur.models.builtin.base import Network, check_image

_WIDTHS = (16, 32, 64)


class Resnet20(Network):
    """Three stages of three residual blocks with 16, 32 and 64 channels (He et al., *Deep Residual Learning for
    Image Recognition*, CVPR 2016, section 4.2), with 1x1 convolutions where the width changes (their option B),
    so that every channel of a stage can be cut.

    >>> sum(p.numel() for p in Resnet20((3, 32, 32), 10).parameters())
    272474
    """

    def __init__(self, shape: tuple[int, ...] = (3, 32, 32), classes: int = 10):
        super().__init__(shape, classes)
        check_image("resnet20", shape, 8)
        self.conv = nn.Conv2d(shape[0], _WIDTHS[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(_WIDTHS[0])
        before = (_WIDTHS[0], *_WIDTHS[:-1])
        self.blocks = nn.Sequential(*(Block(a if i == 0 else b, b, 2 if i == 0 and a != b else 1)
                                      for a, b in zip(before, _WIDTHS, strict=True) for i in range(3)))
        self.fc = nn.Linear(_WIDTHS[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(n, c, h, w)`` to logits ``(n, classes)``."""
        x = self.blocks(F.relu(self.norm(self.conv(x))))
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.shortcut = nn.Identity() if before == after else nn.Sequential(
            nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """``(n, before, h, w)`` to ``(n, after, h / stride, w / stride)``."""
        out = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(out)) + self.shortcut(x))
