"""Weight: one item is one connection."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from secateur.core.types import Group, Target
from secateur.pruning.granularity.base import Granularity, Layer, Score, weight_of


@dataclass(frozen=True)
class Weight(Granularity):
    """Every weight of a linear or convolutional layer is an item; biases and norms never are."""

    def layer(self, model: nn.Module, place: Target | Group, score: Score) -> Layer:
        """One score a weight, in the shape of the tensor."""
        assert isinstance(place, Target)
        return Layer(place.name, score(weight_of(model, place), place.name), target=place)
