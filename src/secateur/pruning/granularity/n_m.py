"""N:M: N of every M consecutive weights along the inputs are kept."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from secateur.core.bounds import whole
from secateur.core.errors import SecateurError
from secateur.core.types import Cut, Group, Target
from secateur.pruning.granularity.base import Granularity, Layer, Score, weight_of
from secateur.pruning.granularity.block import outputs_first, restore_axes
from secateur.pruning.ranking import GroupRanking, Ranking


@dataclass(frozen=True)
class NM(Granularity):
    """Keep the ``n`` weights with the highest scores of every ``m`` along the input axis (``2:4`` by default).

    The pattern of Mishra et al., *Accelerating Sparse Deep Neural Networks*, 2021: for a convolution the
    ``m`` weights are those of ``m`` input channels at one place of the kernel. The sparsity follows, it is
    1 - n/m in every layer; among equal scores the lower index goes first.

    Raises:
        SecateurError: not 0 < n < m.

    >>> NM(1, 4).sparsity
    0.75
    """

    keep_one = False

    n: int = 2
    m: int = 4

    def __post_init__(self) -> None:
        if not all(whole(1).allows(side) for side in (self.n, self.m)) or self.n >= self.m:
            raise SecateurError(f"{self.name}: allowed is n:m with 0 < n < m, such as 2:4, which keeps two of every "
                                f"four weights")

    @property
    def name(self) -> str:
        """Its two numbers, such as ``2:4``."""
        return f"{self.n}:{self.m}"

    @property
    def sparsity(self) -> float:
        """1 - n/m."""
        return (self.m - self.n) / self.m

    def layer(self, model: nn.Module, place: Target | Group, score: Score) -> Layer:
        """One score a weight: ``(outputs, places of the kernel, ..., inputs / m, m)``.

        Raises:
            SecateurError: the layer's inputs are no multiple of ``m``.
        """
        assert isinstance(place, Target)
        self._check_divides(place)
        scores = outputs_first(score(weight_of(model, place), place.name), place.axes)
        return Layer(place.name, scores.unflatten(-1, (-1, self.m)), target=place)

    def _check_divides(self, target: Target) -> None:
        """Refuse a layer whose inputs are no multiple of ``m``, naming the patterns that would do.

        Raises:
            SecateurError: they are none; what reads N:M has no form for a part of a group.
        """
        length = target.shape[target.axes.index("in")]
        if length % self.m:
            fits = ", ".join(str(m) for m in range(1, min(length, 64) + 1) if length % m == 0)
            raise SecateurError(f"{self.name} does not fit '{target.name}': its {length} inputs are not a multiple of "
                                f"{self.m}; allowed: {fits}; or skip '{target.module}', or set another granularity for "
                                "it in layers=")

    def ranking(self, scores: list[Tensor]) -> Ranking:
        """The order in every group of ``m``."""
        return GroupRanking(scores)

    def cut(self, layer: Layer, keep: Tensor) -> Cut:
        """The cut in the shape of the tensor."""
        assert layer.target is not None
        return Cut(layer.name, restore_axes(keep.flatten(-2), layer.target.axes).contiguous())
