"""The contract of a layer in eight bits: which layers of torch it stands for, and its arithmetic."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from secateur.quantization.arithmetic import bias_codes, codes_and_scale, least_scale, values_of, weight_codes
from secateur.quantization.ranges import Range
from secateur.quantization.scales import scales_of


@dataclass(frozen=True)
class Inputs:
    """How the inputs of a layer become codes.

    Attributes:
        static: the range of all calls, from samples; None takes that of each row of each call (``dynamic``).
    """

    static: Range | None = None

    @property
    def scale(self) -> Tensor | None:
        """The distance of two codes, where it is known beforehand."""
        return None if self.static is None else self.static.tensors()[0]


class Int8Layer(nn.Module):
    """A layer whose weights are int8 codes with a scale for each output.

    Attributes:
        kinds: the classes of torch that it stands for; a subclass with a forward of its own is none of them.
        reads_codes: whether its inputs become codes, so that a range of them is needed.
    """

    kinds: ClassVar[tuple[type[nn.Module], ...]] = ()
    reads_codes: ClassVar[bool] = True
    codes: Tensor
    scale: Tensor
    bias: Tensor | None
    input_scale: Tensor | None
    input_zero: Tensor | None

    @classmethod
    def refusal(cls, module: nn.Module) -> str:
        """Why it cannot stand for a module of its kinds, as a clause; empty where it can."""
        del module
        return ""

    @classmethod
    @abstractmethod
    def of(cls, module: Any, inputs: Inputs) -> Self:
        """The layer that stands for a module of torch.

        Args:
            module: the layer in float32.
            inputs: how its inputs become codes.
        """

    def keep(self, name: str, value: Tensor | None) -> None:
        """Hold a tensor that is stored with the network, and does not learn."""
        self.register_buffer(name, None if value is None else value.detach().clone())

    def keep_inputs(self, inputs: Inputs) -> None:
        """Hold how inputs become codes."""
        scale, zero = (None, None) if inputs.static is None else inputs.static.tensors()
        self.keep("input_scale", scale)
        self.keep("input_zero", zero)


class Int8Product(Int8Layer):
    """A layer whose outputs are sums of products of its inputs and one weight, ``(outputs, ...)``, and a bias.

    Its weights may be scored, packed and stored like those of any layer by the codes.
    """

    @classmethod
    def of(cls, module: Any, inputs: Inputs, scale: Tensor | None = None) -> Self:
        """The layer that stands for a module of torch.

        Args:
            module: the layer in float32.
            inputs: how its inputs become codes.
            scale: of each output's weights, ``(outputs,)``; by default that of the least squared error.
        """
        made = cls()
        made.hold(module, inputs, scale)
        return made

    @property
    def weight(self) -> Tensor:
        """The weight that the codes stand for, float32."""
        return values_of(self.codes, self.scale)

    def hold(self, module: Any, inputs: Inputs, scale: Tensor | None) -> None:
        """Round the weight and the bias of a module of torch, and hold the codes."""
        weight = module.weight.detach()
        bias = None if module.bias is None else module.bias.detach().float()
        given = None if inputs.scale is None else inputs.scale.to(weight.device)
        if scale is None:
            scale = scales_of(weight, least_scale(bias, given))
        self.keep("codes", weight_codes(weight, scale))
        self.keep("scale", scale)
        self.keep("bias", bias if bias is None or given is None else bias_codes(bias, given * scale))
        self.keep_inputs(inputs)
        self._inputs = inputs
        self.to(weight.device)

    @property
    def inputs(self) -> Inputs:
        """How its inputs become codes."""
        return self._inputs

    @property
    def gram_shape(self) -> tuple[int, int]:
        """How many matrices of sums of products its inputs have, one for each group, and the size of their sides."""
        return int(getattr(self, "groups", 1)), self.codes[0].numel()

    def seen(self, x: Tensor) -> Tensor:
        """What the codes of its inputs stand for, float32."""
        codes, scale = codes_and_scale(x, self.input_scale, self.input_zero, self.row_axes(x))
        return codes * scale

    @abstractmethod
    def row_axes(self, x: Tensor) -> tuple[int, ...]:
        """The axes of one row of inputs, which has a range of its own where ranges are dynamic."""

    def extra_repr(self) -> str:
        """Sizes, and how inputs become codes."""
        return f"{', '.join(map(str, self.codes.shape))}, {described(self.input_scale, self.input_zero)}"


def described(scale: Tensor | None, zero: Tensor | None) -> str:
    """How inputs become codes, in words.

    >>> import torch
    >>> described(torch.tensor(0.5), torch.tensor(3)), described(None, None)
    ('static: scale 0.5, zero 3', 'dynamic')
    """
    return "dynamic" if scale is None or zero is None else f"static: scale {float(scale):.3g}, zero {int(zero)}"


CONTRACT = Int8Layer
