"""Neuron: one item is one output unit, with everything that goes with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from secateur.granularity.base import Granularity, Layer, Score, Unit, producers
from secateur.types import Group, Member, Structure, Target


class Neuron(Granularity):
    """Every unit of a group that can be cut is an item; the network's outputs never are.

    A unit that several tensors produce (a residual stream) gets the mean of its scores, each
    tensor's scores divided by their own mean first.
    """

    default_criterion = "l2"
    informed_criterion = "elimination"
    needs_example = True
    keep_one = True
    item = "neurons"
    scored_as = "neuron"

    def places(self, structure: Structure, skip: frozenset[str]) -> list[Target] | list[Group]:
        """The groups that can be cut and are produced by no module in ``skip``."""
        return [g for g in structure.groups if g.cuttable and not skip & producers(g)]

    def layer(self, model: nn.Module, place: Target | Group, score: Score) -> Layer:
        """One score a unit, pooled over the tensors that produce it."""
        assert isinstance(place, Group)
        weights = dict(model.named_parameters(remove_duplicate=False))
        made = [m for m in place.members if m.role == "out" and m.tensor in weights
                and weights[m.tensor].ndim > 1]
        made = made or [m for m in place.members if m.tensor in weights]
        parts = [score(unit_rows(weights[m.tensor].detach(), m), m.tensor, Unit(place, m)) for m in made]
        return Layer(place.name, pooled(parts, self.pooling), place)

    def comparable(self, scores: list[Tensor]) -> list[Tensor]:
        """Scores of different groups, each divided by its mean: the norms of long rows are not those of short ones."""
        return [even(s) for s in scores]


def unit_rows(tensor: Tensor, member: Member) -> Tensor:
    """The values that belong to each unit: ``(units, values)``.

    >>> unit_rows(torch.arange(6.0).view(3, 2), Member("w", 0, "out", units=3)).tolist()
    [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    """
    positions = member.positions()
    rows = tensor.movedim(member.axis, 0)[positions.flatten().to(tensor.device)]
    return rows.reshape(positions.shape[0], -1)


def pooled(parts: list[Tensor], how: str = "mean") -> Tensor:
    """Several score vectors as one, each divided by its own mean first; a single one stays as it is."""
    if len(parts) == 1:
        return parts[0]
    return getattr(torch, {"max": "amax"}.get(how, how))(torch.stack([even(p) for p in parts]), 0)  # type: ignore[no-any-return]


def even(scores: Tensor) -> Tensor:
    """Scores divided by their mean, so that those of different tensors can be compared."""
    return scores / scores.mean().clamp_min(torch.finfo(scores.dtype).tiny)
