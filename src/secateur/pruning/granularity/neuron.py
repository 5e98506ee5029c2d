"""Neuron: one item is one output unit, with all weights that belong to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.weight_norm import WeightNorm

from secateur.core.bounds import check_round_to
from secateur.core.choices import Pooling
from secateur.core.module_state import evaluating
from secateur.core.types import Group, Member, Structure, Target
from secateur.pruning.granularity.base import Granularity, Layer, Score, Unit, check_pooling, makers, pool


@dataclass(frozen=True)
class Neuron(Granularity):
    """Every unit of a group that can be cut is an item; the network's outputs never are.

    A unit that several tensors produce (a residual stream) gets the mean of its scores (``pooling``: ``mean``,
    ``sum`` or ``max``), each tensor's scores divided by their own mean first. What is left of a layer is rounded up
    to a multiple of ``round_to``: 8 or 16 suit many machines.

    Raises:
        SecateurError: ``round_to`` is no positive whole number, or an unknown pooling.
    """

    default_criterion = "l2"
    informed_criterion = "elimination"
    needs_example = True
    item = "neurons"
    scored_as = "neuron"

    round_to: int = 1
    pooling: Pooling = "mean"

    def __post_init__(self) -> None:
        check_round_to(self.round_to)
        check_pooling(self.pooling)

    def places(self, structure: Structure, skip: frozenset[str]) -> list[Target] | list[Group]:
        """The groups that can be cut and are produced by no module or weight in ``skip``."""
        return [g for g in structure.groups if g.cuttable and not skip & makers(g)]

    def layer(self, model: nn.Module, place: Target | Group, score: Score) -> Layer:
        """One score a unit, pooled over the tensors that produce it."""
        assert isinstance(place, Group)
        weights = dict(model.named_parameters(remove_duplicate=False))
        made = [m for m in place.members if m.role == "out" and m.tensor in weights
                and weights[m.tensor].ndim > 1]
        # Where no matrix makes the units, all tensors that hold them are scored.
        made = made or [m for m in place.members if m.tensor in weights]
        parts = [score(unit_rows(_effective_weight(model, m.tensor, weights[m.tensor]), m), m.tensor, Unit(place, m))
                 for m in made]
        return Layer(place.name, _pool_scores(parts, self.pooling), place)

    def comparable(self, scores: list[Tensor]) -> list[Tensor]:
        """Scores of different groups, each divided by its mean: the norms of long rows are not those of short ones."""
        return [_divide_by_mean(s) for s in scores]


def _effective_weight(model: nn.Module, name: str, stored: Tensor) -> Tensor:
    """The weight that a layer computes with, of the shape of the stored tensor that it comes from.

    ``g v / |v|`` rather than ``v`` under weight norm; the stored tensor itself where nothing is computed from it.
    """
    owner, parametrized, rest = name.partition(".parametrizations.")
    module = model.get_submodule(owner if parametrized else name.rpartition(".")[0])
    hooks = [h for h in module._forward_pre_hooks.values()
             if isinstance(h, WeightNorm) and not parametrized and name.endswith(f"{h.name}_v")]
    if not parametrized and not hooks:
        return stored.detach()
    with evaluating(module), torch.no_grad():
        found: Tensor = getattr(module, rest.partition(".")[0]) if parametrized else hooks[-1].compute_weight(module)
    return (found if found.shape == stored.shape else stored).detach()


def unit_rows(tensor: Tensor, member: Member) -> Tensor:
    """The values that belong to each unit: ``(units, values)``.

    >>> unit_rows(torch.arange(6.0).view(3, 2), Member("w", 0, "out", units=3)).tolist()
    [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    """
    positions = member.positions()
    rows = tensor.movedim(member.axis, 0)[positions.flatten().to(tensor.device)]
    return rows.reshape(positions.shape[0], -1)


def _pool_scores(parts: list[Tensor], how: Pooling) -> Tensor:
    """Several score vectors as one, each divided by its own mean first; a single one stays as it is."""
    if len(parts) == 1:
        return parts[0]
    return pool(torch.stack([_divide_by_mean(p) for p in parts]), how, 0)


def _divide_by_mean(scores: Tensor) -> Tensor:
    """Scores divided by their mean, so that those of different tensors can be compared."""
    return scores / scores.mean().clamp_min(torch.finfo(scores.dtype).tiny)
