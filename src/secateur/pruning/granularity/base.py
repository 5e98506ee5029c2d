"""The contract of a granularity: which items a network has, what they are scored by, how they are cut."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from secateur.core import registry
from secateur.core.choices import POOLINGS, Pooling
from secateur.core.errors import UnsupportedError, unknown
from secateur.core.items import Item
from secateur.core.types import Cut, Group, Member, Structure, Target
from secateur.pruning.ranking import Ranking


@dataclass(frozen=True)
class Unit:
    """One tensor of a group whose units are scored: the group, and the member that produces them."""

    group: Group
    member: Member


class Score(Protocol):
    """What scores a tensor: its values (for units one row each), its name, and for units where they come from."""

    def __call__(self, tensor: Tensor, name: str, unit: Unit | None = None) -> Tensor:
        """One score an item."""


@dataclass(frozen=True, eq=False)
class Layer:
    """The items of one target or one group, with their scores; ``target`` is None for a group of neurons."""

    name: str
    scores: Tensor
    group: Group | None = None
    target: Target | None = None

    @property
    def items(self) -> int:
        """How many items there are."""
        return self.scores.numel()

    @property
    def modules(self) -> frozenset[str]:
        """The modules whose weights make the items."""
        return frozenset(producers(self.group)) if self.group else frozenset({self.name.rpartition(".")[0]})


def weight_of(model: nn.Module, place: Target) -> Tensor:
    """The weight of a target, without its history.

    Raises:
        UnsupportedError: the network computes it anew at every call, so that zeros in it would not stay.
    """
    weight = getattr(model.get_submodule(place.module), place.name.rpartition(".")[2])
    if not isinstance(weight, nn.Parameter):
        raise UnsupportedError(f"'{place.name}' is computed by a parametrization; allowed: a parameter "
                               "(torch.nn.utils.parametrize.remove_parametrizations makes it one), or skip it")
    return weight.detach()


@dataclass(frozen=True)
class Granularity(Item):
    """Says what one item is; its settings are the fields of a frozen dataclass, its data by default that of weights.

    ``default_criterion`` is used where none is named, ``informed_criterion`` where there are samples;
    ``needs_example`` says whether the graph must be traced; ``keep_one`` whether a layer may never be
    emptied; ``item`` is the word for one item; ``scored_as`` the granularity whose criteria score it.
    """

    default_criterion: ClassVar[str] = "magnitude"
    informed_criterion: ClassVar[str] = ""
    needs_example: ClassVar[bool] = False
    keep_one: ClassVar[bool] = True
    item: ClassVar[str] = "weights"
    scored_as: ClassVar[str] = "weight"

    @property
    def name(self) -> str:
        """How it is written: ``weight``, ``neuron``, ``4x1``, ``2:4``, or ``pkg.module:Class``."""
        return registry.name_of("granularity", type(self))

    def criterion(self, informed: bool) -> str:
        """The criterion that is used where none is named, with samples or without."""
        return (self.informed_criterion if informed else "") or self.default_criterion

    @property
    def sparsity(self) -> float | None:
        """The only sparsity above 0 that it can have, where there is one."""
        return None

    def item_sizes(self, layer: Layer) -> Tensor:
        """How many weights each item of a layer is, int64 in the shape of its scores; 1 for neurons."""
        return torch.ones((), dtype=torch.int64).expand(layer.scores.shape)

    def places(self, structure: Structure, skip: frozenset[str]) -> list[Target] | list[Group]:
        """What can be cut, without the modules named in ``skip``: weights unless a granularity says else."""
        return [target for target in structure.targets if target.module not in skip]

    @abstractmethod
    def layer(self, model: nn.Module, place: Target | Group, score: Score) -> Layer:
        """Score the items of one place; ``score`` takes a tensor, its name and its :class:`Unit`."""

    def comparable(self, scores: list[Tensor]) -> list[Tensor]:
        """The scores of several layers as one scope compares them; as they are unless a granularity says more."""
        return scores

    def ranking(self, scores: list[Tensor]) -> Ranking:
        """The order in which the items of one set of competitors go."""
        return Ranking(scores)

    def cut(self, layer: Layer, keep: Tensor) -> Cut:
        """The cut that keeps ``keep`` (the shape of the scores) of a layer."""
        return Cut(layer.name, keep, layer.group)


CONTRACT = Granularity


def pool(scores: Tensor, how: Pooling, dim: int | tuple[int, ...]) -> Tensor:
    """Several scores as one, along some axes.

    >>> pool(torch.tensor([[1.0, 3.0], [5.0, 5.0]]), "max", 1)
    tensor([3., 5.])
    """
    return getattr(torch, "amax" if how == "max" else how)(scores, dim)


def check_pooling(pooling: str) -> None:
    """Refuse an unknown way to join scores."""
    if pooling not in POOLINGS:
        raise unknown("pooling", str(pooling), POOLINGS)


def producers(group: Group) -> set[str]:
    """The modules whose weights produce the units of a group."""
    return {m.tensor.rpartition(".")[0] for m in group.members if m.role == "out"}


def makers(group: Group) -> set[str]:
    """The modules whose weights produce the units of a group, and these weights themselves."""
    return producers(group) | {m.tensor for m in group.members if m.role == "out"}
