"""What a network takes: names, shapes, types and bounds of its inputs, and random inputs that are drawn from them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as torch_pytree

from secateur.core import pytree
from secateur.core.bitmask import pack_bits, unpack_bits
from secateur.core.tensors import dtype_name


@dataclass(frozen=True, eq=False)
class TensorSpec:
    """One tensor of the inputs.

    Attributes:
        shape: its sizes.
        dtype: its type.
        bounds: the least and the greatest of its numbers; None where they are not known: then whole numbers are drawn
            as zeros, others from [0, 1).
        values: the values of booleans, flat: a mask that is drawn at random is seldom one that a network can use.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    bounds: tuple[float, float] | None = None
    values: Tensor | None = None

    @classmethod
    def of(cls, tensor: Tensor, ranges: bool = False) -> TensorSpec:
        """What a tensor is, as :meth:`InputSpec.of` describes it."""
        shape, dtype = tuple(tensor.shape), tensor.dtype
        real = tensor.is_floating_point()
        if dtype == torch.bool or (ranges and dtype.is_complex):
            return cls(shape, dtype, values=tensor.flatten())
        if dtype.is_complex or (real and not ranges):
            return cls(shape, dtype)
        number = float if real else int
        return cls(shape, dtype, (number(tensor.min()), number(tensor.max())))

    def draw(self, generator: torch.Generator, shape: Sequence[int] | None = None) -> Tensor:
        """A random tensor on the CPU; with another shape, booleans are picked from the values."""
        size = tuple(self.shape if shape is None else shape)
        if self.values is not None:
            if shape is None:
                return self.values.clone().view(size)
            return self.values[torch.randint(self.values.numel(), size, generator=generator)]
        if not (self.dtype.is_floating_point or self.dtype.is_complex):
            low, high = map(int, self.bounds or (0, 0))
            return _random_integers(low, high, size, generator).to(self.dtype)
        # Drawn in float64 and rounded, so that all real types get the same numbers.
        kind = self.dtype if self.dtype.is_complex else torch.float64
        drawn = torch.rand(size, generator=generator, dtype=kind)
        if self.bounds and self.bounds[1] > self.bounds[0]:
            drawn = self.bounds[0] + (self.bounds[1] - self.bounds[0]) * drawn
        return drawn.to(self.dtype)

    def to_plain(self) -> dict[str, Any]:
        """Type and shape, the bounds of whole numbers and the values of booleans, for JSON."""
        plain: dict[str, Any] = {"dtype": dtype_name(self.dtype), "shape": list(self.shape)}
        if self.dtype == torch.bool and self.values is not None:
            return plain | {"bits": pack_bits(self.values)}
        if self.dtype.is_floating_point or self.dtype.is_complex or self.bounds is None:
            return plain
        return plain | {"least": int(self.bounds[0]), "most": int(self.bounds[1])}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> TensorSpec:
        """What :meth:`to_plain` gave."""
        shape = tuple(plain["shape"])
        bounds = (plain["least"], plain["most"]) if "least" in plain else None
        values = unpack_bits(plain["bits"], math.prod(shape)) if "bits" in plain else None
        return cls(shape, getattr(torch, plain["dtype"]), bounds, values)


@dataclass(frozen=True, eq=False)
class InputSpec:
    """The inputs of a network without their values.

    ``inputs`` is nested as an example is: one input, a tuple of them, or a dict by name. A :class:`TensorSpec` stands
    for each tensor; what is no tensor stands for itself.

    >>> InputSpec({"x": TensorSpec((2, 3)), "scale": 0.5}).random()["x"].shape
    torch.Size([2, 3])
    """

    inputs: Any

    @classmethod
    def of(cls, example: Any, ranges: bool = False) -> InputSpec:
        """The inputs that an example has: the bounds of whole numbers and the values of booleans are kept.

        ``ranges`` keeps the bounds of floating-point numbers and the values of complex ones, too. JSON leaves these
        out: a file that is passed on tells as little as it can of the data.
        """
        return cls(torch_pytree.tree_map(lambda v: TensorSpec.of(v, ranges) if isinstance(v, Tensor) else v, example))

    def random(self, seed: int = 0, device: torch.device | str = "cpu",
               shapes: Sequence[Sequence[int]] | None = None) -> Any:
        """Inputs at random, the same ones for a seed; ``shapes`` gives the tensors other shapes, in their order."""
        generator = torch.Generator().manual_seed(seed)
        others = iter(shapes or ())

        def draw(one: Any) -> Any:
            if not isinstance(one, TensorSpec):
                return one
            return one.draw(generator, None if shapes is None else next(others)).to(device)

        return torch_pytree.tree_map(draw, self.inputs)

    def to_json(self) -> str:
        """The inputs as JSON; empty where one is neither a tensor nor a plain value.

        >>> InputSpec.of(torch.tensor([2, 5])).to_json()
        '{"leaf": {"dtype": "int64", "shape": [2], "least": 2, "most": 5}}'
        """
        try:
            return json.dumps(pytree.flatten(self.inputs, _leaf_to_plain), allow_nan=False)
        except (TypeError, ValueError):
            return ""

    @classmethod
    def from_json(cls, text: str) -> InputSpec:
        """What :meth:`to_json` gave.

        Raises:
            SecateurError: the inputs are nested in another way.
        """
        return cls(pytree.unflatten(json.loads(text), _leaf_from_plain))


def _leaf_to_plain(value: Any) -> dict[str, Any]:
    if isinstance(value, TensorSpec):
        return value.to_plain()
    if type(value) in pytree.PLAIN:
        return {"value": value}
    raise TypeError(f"{type(value).__name__} is neither a tensor nor a plain value")


def _leaf_from_plain(plain: dict[str, Any]) -> Any:
    return plain["value"] if "value" in plain else TensorSpec.from_plain(plain)


def _random_integers(low: int, high: int, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Random whole numbers from ``low`` to ``high``.

    Rows of zeros and ones, as a mask has them, begin with a one: a row that is hidden as a whole has no outputs that
    two runtimes would agree on.

    >>> _random_integers(0, 1, (2, 3), torch.Generator().manual_seed(0))[:, 0].tolist()
    [1, 1]
    """
    drawn = torch.randint(low, high + 1, tuple(shape), generator=generator)
    if (low, high) == (0, 1) and drawn.ndim > 1 and drawn.numel():
        drawn[..., 0] = 1
    return drawn
