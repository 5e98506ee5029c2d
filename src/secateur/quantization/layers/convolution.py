"""Convolutions over one and two axes."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from secateur.core.modules import each_side
from secateur.quantization import operators
from secateur.quantization.layers.base import Inputs, Int8Product


class Int8Conv(Int8Product):
    """:class:`torch.nn.Conv1d` and :class:`torch.nn.Conv2d` in eight bits; a row is one sample.

    Where the padding differs between the two ends of an axis, or repeats what is inside, the inputs are padded before
    they become codes, which gives the same.
    """

    kinds = (nn.Conv1d, nn.Conv2d)

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    before: tuple[int, ...]
    mode: str

    def hold(self, module: Any, inputs: Inputs, scale: Tensor | None) -> None:
        """Round the weight and the bias of a convolution of torch, and hold the codes and the settings."""
        super().hold(module, inputs, scale)
        sides = self.codes.ndim - 2
        self.stride, self.dilation = each_side(module.stride, sides), each_side(module.dilation, sides)
        self.groups, self.mode = int(module.groups), module.padding_mode
        self.padding, self.before = _paddings(module, sides)

    def row_axes(self, x: Tensor) -> tuple[int, ...]:
        """All but the samples'."""
        return tuple(range(x.ndim - self.codes.ndim + 1, x.ndim))

    def forward(self, x: Tensor) -> Tensor:
        """``(samples, inputs, ...)`` to ``(samples, outputs, ...)``; one sample may come without its axis."""
        alone = x.ndim == self.codes.ndim - 1
        x = x[None] if alone else x
        if any(self.before):
            x = F.pad(x, self.before, "constant" if self.mode == "zeros" else self.mode)
        y = operators.conv(x, self.codes, self.scale, self.bias, self.input_scale, self.input_zero, self.stride,
                           self.padding, self.dilation, self.groups)
        return y[0] if alone else y

    def extra_repr(self) -> str:
        """Sizes, and how inputs become codes."""
        return (f"{super().extra_repr()}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
                f"groups={self.groups}")


def _paddings(module: nn.Conv1d | nn.Conv2d, sides: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the product pads at both ends of each axis, and what is padded before, as ``F.pad`` takes it.

    >>> _paddings(nn.Conv1d(1, 1, 4, padding="same"), 1), _paddings(nn.Conv2d(1, 1, 3, padding=1), 2)
    (((0,), (1, 2)), ((1, 1), (0, 0, 0, 0)))
    """
    none = (0,) * sides
    if module.padding_mode != "zeros":
        return none, tuple(module._reversed_padding_repeated_twice)
    if module.padding == "valid":
        return none, none * 2
    if module.padding != "same":
        return each_side(module.padding, sides), none * 2
    totals = [d * (k - 1) for k, d in zip(module.weight.shape[2:], each_side(module.dilation, sides), strict=True)]
    if all(total % 2 == 0 for total in totals):
        return tuple(total // 2 for total in totals), none * 2
    return none, tuple(n for total in reversed(totals) for n in (total // 2, total - total // 2))
