"""Block: one item is a rectangle of weights, ``b`` outputs by ``c`` inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
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
    (both).

    Where a side does not divide a layer's outputs or inputs, the last blocks along them are smaller. Such a block
    is one item like any other, and its score pools the weights that it has. Its ``mean`` compares with that of a whole
    block, but scatters more: at a high sparsity it stays more often. Its ``sum`` and ``max`` are of fewer weights, so
    that it tends to go before whole blocks. The sparsity is the fraction of blocks that go. Where the weights in them
    are another fraction, the plan's notes say so.

    Raises:
        SecateurError: a side below 1, or an unknown pooling.

    >>> import torch
    >>> Block(2, 2).pool(torch.tensor([[1.0, 2, 5], [3, 2, 9], [4, 6, 1]]), ("out", "in"))
    tensor([[2., 7.],
            [5., 1.]])
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

    def item_sizes(self, layer: Layer) -> Tensor:
        """The weights of each block."""
        assert layer.target is not None
        ones = torch.ones((), dtype=torch.int64).expand(layer.target.shape)
        return replace(self, pooling="sum").pool(ones, layer.target.axes)

    def layer(self, model: nn.Module, place: Target | Group, score: Score) -> Layer:
        """One score a block: ``(outputs / b, places of the kernel, ..., inputs / c)``, rounded up."""
        assert isinstance(place, Target)
        scores = score(weight_of(model, place), place.name)
        return Layer(place.name, self.pool(scores, place.axes), target=place)

    def pool(self, scores: Tensor, axes: tuple[str, ...]) -> Tensor:
        """The scores of single weights as scores of blocks."""
        return torch.cat([torch.cat([self._pool_equal(part, rows, columns)
                                     for part, columns in _parts(band, -1, self.inputs)], -1)
                          for band, rows in _parts(outputs_first(scores, axes), 0, self.outputs)])

    def _pool_equal(self, scores: Tensor, rows: int, columns: int) -> Tensor:
        """The scores of blocks of one size that fill a tensor, outputs first."""
        out, *kernel, into = scores.shape
        split = scores.reshape(out // rows, rows, *kernel, into // columns, columns)
        return pool(split, self.pooling, (1, -1))

    def cut(self, layer: Layer, keep: Tensor) -> Cut:
        """The cut in the shape of the tensor, an item being a block."""
        assert layer.target is not None
        axes, shape = layer.target.axes, dict(zip(layer.target.axes, layer.target.shape, strict=True))
        # No longer than the axis: a side of 1e9 would else repeat the mask as often.
        sides = {a: min({"out": self.outputs, "in": self.inputs}.get(a, 1), n) for a, n in shape.items()}
        wide = keep.repeat_interleave(sides["out"], 0).narrow(0, 0, shape["out"])
        wide = wide.repeat_interleave(sides["in"], -1).narrow(-1, 0, shape["in"])
        return Cut(layer.name, restore_axes(wide, axes).contiguous(), sides=tuple(sides.values()))


def _parts(tensor: Tensor, axis: int, side: int) -> Iterator[tuple[Tensor, int]]:
    """What whole blocks fill along an axis, and the rest, each with the side of its blocks; without what is empty.

    >>> [(part.tolist(), side) for part, side in _parts(torch.arange(5), 0, 2)]
    [([0, 1, 2, 3], 2), ([4], 1)]
    """
    rest = tensor.shape[axis] % side
    filled, left = tensor.split([tensor.shape[axis] - rest, rest], axis)
    if filled.shape[axis]:
        yield filled, side
    if rest:
        yield left, rest


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
