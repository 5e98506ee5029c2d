"""The straight line as public functions: model, scores, plan, pruned model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from secateur import graph, registry
from secateur.apply import apply
from secateur.calibration import Calibration, Loss, calibration
from secateur.criteria.base import Criterion, Function, as_criterion
from secateur.errors import SecateurError, unknown
from secateur.gather import Gatherer
from secateur.gather.gatherer import sources
from secateur.granularity.base import POOLINGS, Granularity, Layer, Unit
from secateur.recover import Choice, check_recoveries, recover, recoveries
from secateur.scopes.base import Scope
from secateur.select import Ranking, check_sparsity
from secateur.signals import check_needs
from secateur.types import Cut, Group, Plan, Structure

Chosen = str | Criterion | Function | None


def plan(model: nn.Module, sparsity: float, granularity: str = "weight", criterion: Chosen = None,
         scope: str = "layer", skip: Sequence[str] = (), example: Any = None, seed: int = 0, round_to: int = 1,
         pooling: str = "mean", data: Any = None, loss: Loss | None = None) -> Plan:
    """Say exactly what to remove, without touching the model.

    Args:
        model: any module; for ``weight`` its linear and convolutional weights are the items.
        sparsity: the fraction removed, in [0, 1).
        granularity: ``weight`` or ``neuron``.
        criterion: what an item is worth: a name, ``pkg.module:name``, a :class:`Criterion`, or a function of
            weight and signals; by default ``magnitude`` for weights, for neurons ``elimination`` where ``data`` is
            given and ``l2`` where it is not.
        scope: ``layer`` or ``global``: which items compete.
        skip: names of modules that stay whole, exact or as regular expressions.
        example: one input, or a tuple of them; needed to cut neurons, unless ``data`` is given.
        seed: for a criterion that draws at random.
        round_to: neurons and channels left are rounded up to a multiple of this (8 or 16 suit many machines).
        pooling: ``mean``, ``sum`` or ``max`` of a unit's scores where several tensors produce it.
        data: for criteria that look at activations or gradients: a tensor of inputs, a pair of tensors (inputs,
            labels), or an iterable of batches, as :func:`secateur.calibration.calibration` says.
        loss: of outputs and labels, for criteria with gradients; by default the cross-entropy.

    Raises:
        SecateurError: an unknown name, a sparsity outside [0, 1), NaN in weights, a missing example, missing data.

    >>> net = nn.Sequential(nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False))
    >>> print(plan(net, 0.5, skip=["2"]))
    weight pruning by magnitude, scope layer: 6 of 12 removed, sparsity 0.5000 (asked 0.5)
      0.weight: 6 of 12 (0.5000)
    """
    check_sparsity(sparsity)
    return Selection(model, granularity, criterion, scope, skip, example, seed, None, round_to, pooling,
                     calibration(data, loss)).plan(sparsity)


def prune(model: nn.Module, sparsity: float, granularity: str = "weight", criterion: Chosen = None,
          scope: str = "layer", skip: Sequence[str] = (), example: Any = None, seed: int = 0, round_to: int = 1,
          pooling: str = "mean", data: Any = None, loss: Loss | None = None,
          recovery: Choice | None = None) -> nn.Module:
    """Plan, apply and recover in one call; the arguments are those of :func:`plan`. The model stays as it is.

    Args:
        recovery: what wins accuracy back after the cut: a name, ``pkg.module:Class``, a
            :class:`~secateur.recovery.base.Recovery`, or a sequence of them, done in its order. By default
            ``best``, which needs no labels, where ``data`` is given, and ``none`` where it is not.

    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> int((prune(net, 0.75)[0].weight == 0).sum())
    9
    """
    samples = calibration(data, loss)
    items = recoveries(recovery if recovery is not None else "best" if samples else "none")
    check_recoveries(items, samples)
    made = plan(model, sparsity, granularity, criterion, scope, skip, example, seed, round_to, pooling, samples)
    return recover(model, apply(model, made), made, items, samples, seed)


class Selection:
    """The scores of a network, ranked once, from which a plan for every sparsity is read.

    Arguments as in :func:`plan`. ``structure`` may be given where it was traced before.
    """

    def __init__(self, model: nn.Module, granularity: str = "weight", criterion: Chosen = None,
                 scope: str = "layer", skip: Sequence[str] = (), example: Any = None, seed: int = 0,
                 structure: Structure | None = None, round_to: int = 1, pooling: str = "mean",
                 samples: Calibration | None = None):
        self._granularity: Granularity = registry.get("granularity", granularity)()
        self._granularity.pooling, self.round_to = check_pooling(pooling), check_round_to(round_to)
        self.granularity, self.scope = granularity, scope
        default = (self._granularity.informed_criterion if samples else "") or self._granularity.default_criterion
        self.criterion, self._criterion = criterion_for(criterion or default, granularity)
        scope_item: Scope = registry.get("scopes", scope)()
        check_needs(f"criterion '{self.criterion}'", self._criterion.needs, sources(samples, example, seed))
        check_weights(model)
        skipped = resolve_skip(model, skip)
        example = samples.example() if example is None and samples is not None else example
        self.structure = structure or self._read(model, example)
        self.layers = self._score(model, self._granularity.places(self.structure, skipped), samples, example, seed)
        self.shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
        scores = self._granularity.comparable([layer.scores for layer in self.layers])
        self._sets = scope_item.competitors(scores)
        self._allocate = lambda sparsity: scope_item.sparsities(scores, sparsity)
        self._rankings = [Ranking([scores[i] for i in members]) for members in self._sets]

    def _read(self, model: nn.Module, example: Any) -> Structure:
        if not self._granularity.needs_example:
            return Structure(graph.targets(model), (), ())
        if example is None:
            raise SecateurError(f"granularity '{self.granularity}' needs example=, one input of the network "
                                "or a tuple of them, to see which axes go together; got None")
        return graph.trace(model, example)

    def _score(self, model: nn.Module, places: Sequence[Any], samples: Calibration | None, example: Any,
               seed: int) -> list[Layer]:
        if not places:
            raise SecateurError(f"nothing to cut: no {self._granularity.item} outside skip can be removed"
                                + "".join(f"; {g.name}: {g.reason}" for g in self.structure.groups if g.reason))
        tensors = [] if isinstance(places[0], Group) else [place.name for place in places]
        gather = Gatherer(model, self._criterion.needs, tensors, samples, example, seed)

        def score(tensor: Tensor, name: str, unit: Unit | None = None) -> Tensor:
            return self._criterion.score(tensor, gather.of(self.granularity, name, unit))

        return [self._granularity.layer(model, place, score) for place in places]

    def plan(self, sparsity: float) -> Plan:
        """The plan at one sparsity, from the ranking that was made at the start."""
        check_sparsity(sparsity)
        keeps: dict[int, Tensor] = {}
        fractions = self._allocate(sparsity)
        for ranking, members, fraction in zip(self._rankings, self._sets, fractions, strict=True):
            keeps.update(zip(members, ranking.keep(fraction), strict=True))
        cuts = [self._granularity.cut(layer, keeps[i]) for i, layer in enumerate(self.layers)]
        cuts, notes = self._guard(cuts) if self._granularity.keep_one else (cuts, [])
        cuts = [self._rounded(cut, layer) for cut, layer in zip(cuts, self.layers, strict=True)]
        return Plan(self.granularity, self.criterion, self.scope, float(sparsity), tuple(cuts), self.shapes,
                    tuple(notes), self.structure)

    def _rounded(self, cut: Cut, layer: Layer) -> Cut:
        """Keep the best of what would go, so that a multiple of ``round_to`` stays."""
        if cut.group is None or cut.group.unit not in ("neuron", "channel") or not cut.removed:
            return cut
        kept = cut.items - cut.removed
        more = min(-(-kept // self.round_to) * self.round_to, cut.items) - kept
        best = layer.scores.masked_fill(cut.keep, -torch.inf).topk(more).indices
        return replace(cut, keep=cut.keep.index_fill(0, best, True))

    def _guard(self, cuts: list[Cut]) -> tuple[list[Cut], list[str]]:
        """Leave the best item of a layer that would be emptied, and say so."""
        notes = []
        for i, cut in enumerate(cuts):
            if not cut.keep.any():
                keep = torch.zeros_like(cut.keep)
                keep[self.layers[i].scores.argmax()] = True
                cuts[i] = replace(cut, keep=keep)
                notes.append(f"{cut.name}: one of {cut.items} {self._granularity.item} kept, all would have gone")
        return cuts, notes


def criterion_for(choice: str | Criterion | Function, granularity: str) -> tuple[str, Criterion]:
    """The name of a criterion and the criterion, if it can score this granularity.

    Raises:
        SecateurError: it cannot; the message names those that can.
    """
    name, item = as_criterion(choice)
    if granularity not in item.granularities:
        raise SecateurError(f"criterion '{name}' scores {', '.join(sorted(item.granularities))}, not '{granularity}'; "
                            f"for '{granularity}' allowed: {', '.join(registry.criteria_for(granularity))}")
    return name, item


def check_round_to(round_to: int) -> int:
    """The multiple, if it is a positive whole number."""
    if not isinstance(round_to, int) or round_to < 1:
        raise SecateurError(f"round_to {round_to!r}: allowed is a positive whole number, such as 8")
    return round_to


def check_pooling(pooling: str) -> str:
    """The pooling, if it is known."""
    if pooling not in POOLINGS:
        raise unknown("pooling", pooling, POOLINGS)
    return pooling


def check_weights(model: nn.Module) -> None:
    """Refuse a network with NaN or infinite weights, naming the tensor."""
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            bad = int((~torch.isfinite(parameter)).sum())
            raise SecateurError(f"parameter '{name}' holds {bad} NaN or infinite values of {parameter.numel()}")


def resolve_skip(model: nn.Module, skip: Iterable[str]) -> frozenset[str]:
    """The modules that ``skip`` names, exactly or as regular expressions, with all modules inside them.

    Raises:
        SecateurError: a name that no module has, a name given twice.
    """
    names = [name for name, _ in model.named_modules() if name]
    patterns = list(skip)
    if twice := sorted({p for p in patterns if patterns.count(p) > 1}):
        raise SecateurError(f"skip names {', '.join(twice)} twice")
    found: set[str] = set()
    for pattern in patterns:
        hits = [n for n in names if n == pattern or matches(pattern, n)]
        if not hits:
            raise unknown("module in skip", pattern, names)
        found.update(n for n in names for hit in hits if n == hit or n.startswith(f"{hit}."))
    return frozenset(found)


def matches(pattern: str, name: str) -> bool:
    """Whether a regular expression is all of a name; what is no expression matches nothing.

    >>> matches("block.*", "block1"), matches("[", "block1")
    (True, False)
    """
    try:
        return re.fullmatch(pattern, name) is not None
    except re.error:
        return False
