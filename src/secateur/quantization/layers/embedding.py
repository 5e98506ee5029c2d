"""A table of vectors."""

from __future__ import annotations

from typing import Any, Self

from torch import Tensor, nn

from secateur.quantization.arithmetic import weight_codes
from secateur.quantization.layers.base import Inputs, Int8Layer
from secateur.quantization.scales import scales_of


class Int8Embedding(Int8Layer):
    """:class:`torch.nn.Embedding` in eight bits, with a scale for each vector; its inputs are places and stay."""

    kinds = (nn.Embedding,)
    reads_codes = False

    @classmethod
    def refusal(cls, module: nn.Module) -> str:
        """A table that a call writes to is none."""
        return "its calls scale its vectors (max_norm)" if getattr(module, "max_norm", None) is not None else ""

    @classmethod
    def of(cls, module: Any, inputs: Inputs) -> Self:
        """The layer that stands for a table of torch."""
        del inputs
        made, weight = cls(), module.weight.detach()
        made.keep("scale", scale := scales_of(weight))
        made.keep("codes", weight_codes(weight, scale))
        return made

    def forward(self, places: Tensor) -> Tensor:
        """Whole numbers ``(...)`` to vectors ``(..., size)``, float32."""
        return self.codes[places].float() * self.scale[places][..., None]

    def extra_repr(self) -> str:
        """The sizes."""
        return ", ".join(map(str, self.codes.shape))
