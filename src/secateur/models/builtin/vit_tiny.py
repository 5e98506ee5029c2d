"""A small vision Transformer for 28x28 and 32x32 images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from secateur.models.builtin.base import Network, check_image

_PATCH = 4


class VitTiny(Network):
    """Four layers of width 96 with six heads of 16 over patches of 4x4, a class token and learned positions
    (Dosovitskiy et al., *An Image is Worth 16x16 Words*, ICLR 2021, scaled down to small images).

    >>> VitTiny((3, 32, 32), 10)(torch.rand(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """

    def __init__(self, shape: tuple[int, ...] = (3, 32, 32), classes: int = 10):
        super().__init__(shape, classes)
        check_image("vit-tiny", shape, _PATCH)
        width = 96
        self.patches = nn.Conv2d(shape[0], width, _PATCH, _PATCH)
        count = (shape[1] // _PATCH) * (shape[2] // _PATCH)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, count + 1, width) * 0.02)
        self.layers = nn.Sequential(*(Layer(width, 6, 2 * width) for _ in range(4)))
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(n, c, h, w)`` to logits ``(n, classes)``."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        return self.fc(self.norm(self.layers(x)[:, 0]))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Attention and a multi-layer perceptron, each after a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        self.head_dim = width // heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, tokens, width)`` to the same shape."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, -1, self.head_dim)).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))
