"""Block: one item is a rectangle of weights, ``b`` outputs by ``c`` inputs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from secateur.core.bounds import whole
from secateur.core.choices import Pooling
from secateur.core.errors import SecateurError
from secateur.core.types import Cut, Group, Target
from secateur.pruning.granularity.base import Granularity, Layer, Score, check_pooling, pool, weight_of


@dataclass(frozen=True)
class Block(Granularity):
    """Remove weights in blocks of ``outputs`` x ``inputs`` (``4x1`` where no size is named).

    A block of a convolution lies at one place of the kernel: ``outputs`` filters by ``inputs`` channels. A
    block's score is the mean of its weights' scores (``pooling``: ``mean``, ``sum`` or ``max``), as in
    Narang et al., *Block-Sparse Recurrent Neural Networks*, 2017 (``max``) and tf.contrib.model_pruning
    (both). A layer whose sides are no multiples of the block is refused: a part of a block is no block.

    Raises:
        SecateurError: a side below 1, or an unknown pooling.

    >>> import torch
    >>> Block(2, 2).pool(torch.tensor([[1.0, 2, 5, 5], [3, 2, 5, 9]]), ("out", "in"))
    tensor([[2., 6.]])
    """

    item = "blocks"

    outputs: int = 4
    inputs: int = 1
    pooling: Pooling = "mean"

    def __post_init__(self) -> None:
        if not all(whole(1).allows(side) for side in (self.outputs, self.inputs)):
            raise SecateurError(f"block {self.name}: allowed are sides of 1 or more, such as 4x1")
        check_pooling(self.pooling)

    @property
    def name(self) -> str:
        """Its sides, such as ``4x1``."""
        return f"{self.outputs}x{self.inputs}"

    def item_size(self, layer: Layer) -> int:
        """The weights of a block."""
        return self.outputs * self.inputs

    def layer(self, model: nn.Module, place: Target | Group, score: Score) -> Layer:
        """One score a block: ``(outputs / b, places of the kernel, ..., inputs / c)``.

        Raises:
            SecateurError: the layer's sides are no multiples of the block's.
        """
        assert isinstance(place, Target)
        check_divides(place, "out", self.outputs, f"block {self.name}")
        check_divides(place, "in", self.inputs, f"block {self.name}")
        scores = score(weight_of(model, place), place.name)
        return Layer(place.name, self.pool(scores, place.axes), target=place)

    def pool(self, scores: Tensor, axes: tuple[str, ...]) -> Tensor:
        """The scores of single weights as scores of blocks."""
        ordered = outputs_first(scores, axes)
        out, *kernel, into = ordered.shape
        split = ordered.reshape(out // self.outputs, self.outputs, *kernel, into // self.inputs, self.inputs)
        return pool(split, self.pooling, (1, -1))

    def cut(self, layer: Layer, keep: Tensor) -> Cut:
        """The cut in the shape of the tensor, an item being a block."""
        assert layer.target is not None
        whole = keep.repeat_interleave(self.outputs, 0).repeat_interleave(self.inputs, -1)
        return Cut(layer.name, restore_axes(whole, layer.target.axes).contiguous(), size=self.item_size(layer))


def outputs_first(tensor: Tensor, axes: tuple[str, ...]) -> Tensor:
    """A weight as ``(outputs, places of the kernel, ..., inputs)``, a view.

    >>> import torch
    >>> outputs_first(torch.zeros(8, 3, 5, 5), ("out", "in", "height", "width")).shape
    torch.Size([8, 5, 5, 3])
    """
    out, into = axes.index("out"), axes.index("in")
    return tensor.permute(out, *(i for i in range(tensor.ndim) if i not in (out, into)), into)


def restore_axes(tensor: Tensor, axes: tuple[str, ...]) -> Tensor:
    """The inverse of :func:`outputs_first`.

    >>> import torch
    >>> restore_axes(torch.zeros(8, 5, 5, 3), ("in", "out", "height", "width")).shape
    torch.Size([3, 8, 5, 5])
    """
    kernel = iter(range(1, tensor.ndim - 1))
    return tensor.permute([{"out": 0, "in": tensor.ndim - 1}[a] if a in ("out", "in") else next(kernel) for a in axes])


def check_divides(target: Target, axis: str, side: int, what: str) -> None:
    """Refuse a layer whose outputs or inputs are not a multiple of a side, naming those that would do.

    Raises:
        SecateurError: they are not.
    """
    length = target.shape[target.axes.index(axis)]
    if length % side:
        fits = ", ".join(str(n) for n in range(1, min(length, 64) + 1) if length % n == 0)
        raise SecateurError(f"{what} does not fit '{target.name}': its {length} {axis}puts are not a multiple of "
                            f"{side}; "
                            f"allowed: {fits}; or skip '{target.module}', or set another granularity for it in layers=")
