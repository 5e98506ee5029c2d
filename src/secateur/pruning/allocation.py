"""Scored layers, a scope and a sparsity in, the cuts out: which layers compete, and how many items of each go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.core import registry
from secateur.core.errors import SecateurError, unknown
from secateur.core.modules import parameter_shapes
from secateur.core.types import Cut, Plan, Structure
from secateur.data.calibration import Calibration
from secateur.pruning.apply import apply
from secateur.pruning.costs import RESOURCES, Costs, costs
from secateur.pruning.granularity.base import Granularity, Layer
from secateur.pruning.layer_rules import Rule
from secateur.pruning.ranking import Ranking, removal_count
from secateur.pruning.scan import GRID, Scan, scan
from secateur.pruning.scopes.base import Allocation, Scope, ScopeContext
from secateur.pruning.trial import Trials


@dataclass(frozen=True, eq=False)
class Entry:
    """One scored layer with what an item of it is, and the settings that hold for it."""

    layer: Layer
    granularity: Granularity
    rule: Rule

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the most items that may go."""
        return self.rule.bounds(self.layer.items, self.granularity.keep_one)

    @property
    def own_sparsity(self) -> float | None:
        """The sparsity that the layer has whatever is asked of the others: its rule's, or that of N:M."""
        return self.granularity.sparsity if self.granularity.sparsity is not None else self.rule.sparsity

    def cut(self, keep: Tensor) -> Cut:
        """The cut that keeps some items."""
        return self.granularity.cut(self.layer, keep)


@dataclass(eq=False)
class Contest:
    """Layers of one granularity that share a sparsity: their sets of competitors, each with its ranking.

    ``members`` are places in the allocator's entries; what was measured of them for the scope is kept.
    """

    members: list[int]
    sets: list[tuple[list[int], Ranking]]
    scans: dict[tuple[float, ...], Scan] = field(default_factory=dict)
    costs: Costs | None = None


class Allocator:
    """The layers of a network, ranked once, from which the cuts for every sparsity are read.

    Layers with a sparsity of their own (their rule's, or that of N:M) stand alone. The others compete as the
    scope says, those of one granularity and block size among themselves: the scores of different items
    cannot be compared.

    Args:
        model: the network.
        entries: its layers.
        scope: who competes with whom.
        samples: what ``data=`` gave.
        structure: the groups of the network, which a cut of neurons needs.
        known: a scan of all that compete, from earlier.

    Raises:
        SecateurError: the scope is not defined here, or lacks something that it needs.
    """

    def __init__(self, model: nn.Module, entries: Sequence[Entry], scope: Scope, samples: Calibration | None = None,
                 structure: Structure | None = None, known: Scan | None = None):
        self.model, self.entries, self.scope = model, list(entries), scope
        self.samples, self.structure = samples, structure
        alone = [i for i, e in enumerate(entries) if e.own_sparsity is not None]
        kinds = list(dict.fromkeys(e.granularity for e in entries if e.own_sparsity is None))
        _check_scope(scope, [e for e in entries if e.own_sparsity is None] or list(entries), samples)
        self._check_kinds(kinds)
        self._alone = {i: self._ranking([i]) for i in alone}
        self._contests = [self._contest([i for i, e in enumerate(entries) if e.granularity == kind and i not in alone])
                          for kind in kinds]
        for contest in self._contests:
            if known and [c.name for c in known.curves] == [self.entries[i].layer.name for i in contest.members]:
                contest.scans[GRID] = known

    def _check_kinds(self, kinds: Sequence[Granularity]) -> None:
        if not kinds and self.scope.name != "layer":
            raise SecateurError(f"scope '{self.scope.name}' sets how much is pruned in each layer, but every layer "
                                "already has its own sparsity; allowed: layer")
        if "costs" in self.scope.needs and len(kinds) > 1:
            raise SecateurError(f"scope '{self.scope.name}' divides items of one kind, got "
                                f"{', '.join(k.name for k in kinds)}; set the sparsity of the others in layers=")

    def _ranking(self, members: Sequence[int]) -> Ranking:
        return self.entries[members[0]].granularity.ranking([self.entries[i].layer.scores for i in members])

    def _contest(self, members: list[int]) -> Contest:
        granularity = self.entries[members[0]].granularity
        scores = granularity.comparable([self.entries[i].layer.scores for i in members])
        scores = self.scope.comparable(scores)
        return Contest(members, [([members[k] for k in places], granularity.ranking([scores[k] for k in places]))
                                 for places in self.scope.competitors(len(members))])

    def cuts(self, sparsity: float, spare: bool = False) -> tuple[list[Cut], list[str]]:
        """The cut of every layer, and notes of where a bound or guard acted.

        Args:
            sparsity: of the layers that have none of their own.
            spare: leave those whole that have no sparsity of their own but that of N:M, because 0 was asked for.
        """
        keeps: dict[int, Tensor] = {}
        notes: list[str] = []
        for i, ranking in self._alone.items():
            entry = self.entries[i]
            own = 0.0 if spare and entry.rule.sparsity is None else entry.own_sparsity or 0.0
            if entry.own_sparsity and not own and entry.rule.granularity:
                notes.append(f"{entry.layer.name}: stays whole, because sparsity is 0; to prune only this layer, set "
                             f"its sparsity to {entry.own_sparsity:g} in layers=")
            notes += self._keep_best(keeps, [i], ranking, removal_count(ranking.items, own))
        for contest in self._contests:
            layers, context = [self.entries[i].layer for i in contest.members], self._context(contest)
            bounds = [self.entries[i].bounds for i in contest.members]
            counts = self.scope.removals(layers, sparsity, bounds, context)
            notes += self.scope.remarks(sparsity, counts, context)
            for (places, ranking), count in zip(contest.sets, counts, strict=True):
                notes += self._keep_best(keeps, places, ranking, count)
            if isinstance(self.scope, Allocation) and "costs" not in self.scope.needs:
                items = sum(layer.items for layer in layers)
                notes += _bound_notes(removal_count(items, sparsity), sum(counts), items)
        return [entry.cut(keeps[i]) for i, entry in enumerate(self.entries)], notes

    def scan(self, sparsities: Sequence[float]) -> Scan:
        """How far the outputs move when each of the layers that compete is cut by itself."""
        if len(self._contests) != 1:
            kinds = ", ".join(self.entries[c.members[0]].granularity.name for c in self._contests)
            raise SecateurError(f"a sensitivity scan needs layers with items of one kind, got "
                                f"{kinds or 'only layers with their '}"
                                f"{'' if kinds else 'own sparsity'}")
        return self._scan(self._contests[0], tuple(sparsities))

    def _scan(self, contest: Contest, sparsities: tuple[float, ...] = GRID) -> Scan:
        if sparsities not in contest.scans:
            contest.scans[sparsities] = scan(self._trials(contest), sparsities)
        return contest.scans[sparsities]

    def _context(self, contest: Contest) -> ScopeContext:
        """What the scope declared that it needs, measured once."""
        needs = self.scope.needs
        if "costs" in needs and contest.costs is None:
            contest.costs = costs(self.scope.resource, self.scope.batch, self._trials(contest))
        return ScopeContext(self.model, self.samples, self._scan(contest) if "scan" in needs else None, contest.costs)

    def _trials(self, contest: Contest) -> Trials:
        if any(len(places) > 1 for places, _ in contest.sets):
            raise SecateurError(f"scope '{self.scope.name}' ranks several layers together, but needs "
                                f"{', '.join(sorted(self.scope.needs))}, which is measured for each layer alone; "
                                "allowed: one set of competitors per layer, as in Allocation")
        entries = [self.entries[i] for i in contest.members]
        return Trials(self.model, tuple(e.layer for e in entries), [e.bounds for e in entries],
                      lambda counts: self._network(contest, counts),
                      lambda index, counts: self._weights_left(contest, index, counts), self.samples)

    def _weights_left(self, contest: Contest, index: int, counts: NDArray[Any]) -> NDArray[Any]:
        """How many weights of a layer are left when so many of its items go: not all items need be of one size."""
        entry = self.entries[contest.members[index]]
        ranking = next(ranking for places, ranking in contest.sets if places == [contest.members[index]])
        sizes = entry.granularity.item_sizes(entry.layer).flatten()[ranking.order]
        gone = np.concatenate([[0], sizes.cumsum(0).numpy()])
        return np.asarray(gone[-1] - gone[counts.astype(np.int64)])

    def _keep_best(self, keeps: dict[int, Tensor], members: list[int], ranking: Ranking, count: int) -> list[str]:
        """Keep the best of one set within the bounds of its layers, and say where these acted."""
        fixed = self.entries[members[0]].granularity.sparsity is not None
        bounds = [(0, self.entries[i].layer.items) if fixed else self.entries[i].bounds for i in members]
        free, kept, notes = ranking.take(count), ranking.take(count, bounds), list[str]()
        for i, before, after, bound in zip(members, free, kept, bounds, strict=True):
            keeps[i] = after
            notes += self._guard_notes(i, _count_removed(before), _count_removed(after), bound)
        if fixed:
            notes += self._overruled(members[0], count)
        elif len(members) > 1:
            notes += _bound_notes(count, sum(map(_count_removed, kept)), ranking.items)
        return notes

    def _overruled(self, i: int, count: int) -> Iterator[str]:
        """A note where N:M takes less or more of a layer than its bounds say."""
        entry = self.entries[i]
        low, high = entry.rule.bounds(entry.layer.items, False)
        if count and not low <= count <= high:
            side = f"min_sparsity={entry.rule.min_sparsity:g}" if count < low else (
                f"max_sparsity={entry.rule.max_sparsity:g}")
            yield (f"{entry.layer.name}: {count} of {entry.layer.items} removed, because {entry.granularity.name} "
                   f"requires it; {side} has no effect")

    def _guard_notes(self, i: int, before: int, after: int, bound: tuple[int, int]) -> list[str]:
        entry, total = self.entries[i], self.entries[i].layer.items
        name, item, (low, high) = entry.layer.name, entry.granularity.item, bound
        if before == total and after == total - 1 and total > 1:
            return [f"{name}: one of {total} {item} kept; otherwise all would be removed"]
        if after == high == total - 1 and isinstance(self.scope, Allocation) and total > 1 and (
                entry.own_sparsity is None):
            return [f"{name}: one of {total} {item} kept; otherwise the scope would remove all"]
        if (before > high and after == high) or before < low:
            most = entry.rule.max_sparsity
            side = f"max_sparsity={most:g}" if before > high and most is not None and most != 1 else (
                f"min_sparsity={entry.rule.min_sparsity or 0:g}" if before < low else "one has to stay")
            return [f"{name}: {after} of {total} {item} removed, not {before}: {side}"]
        return []

    def _network(self, contest: Contest, counts: Sequence[int]) -> nn.Module:
        """The network with so many items of each layer of a contest cut, besides those of layers that stand alone."""
        cuts = [self.entries[i].cut(ranking.take(removal_count(ranking.items, self.entries[i].own_sparsity or 0))[0])
                for i, ranking in self._alone.items()]
        single = dict(zip(contest.members, counts, strict=True))
        cuts += [self.entries[place].cut(ranking.take(single[place])[0]) for (place,), ranking in contest.sets]
        plan = Plan(self.entries[0].granularity.name, "", "", 0.0, tuple(cuts), parameter_shapes(self.model),
                    structure=self.structure)
        return apply(self.model, plan, prove=False)


def _bound_notes(asked: int, reached: int, items: int) -> Iterator[str]:
    """A note where the bounds of some layers that share a sparsity let others go than were asked for."""
    if reached < asked:
        yield f"asked to remove {asked} of {items}, removed {reached}: the bounds of the layers allow no more"
    elif reached > asked:
        yield f"asked to remove {asked} of {items}, removed {reached}: the layers' min_sparsity requires more"


def _count_removed(keep: Tensor) -> int:
    """How many items go."""
    return keep.numel() - int(torch.count_nonzero(keep))


_NEEDS = {"samples", "scan", "costs"}
"""What a scope may declare that it needs, see :class:`ScopeContext`."""


def _check_scope(scope: Scope, entries: Sequence[Entry], samples: Calibration | None) -> None:
    """Refuse a scope that is not defined for these layers, or lacks the samples that it needs.

    Raises:
        SecateurError: it is not, or does.
    """
    if strange := sorted({e.granularity.scored_as for e in entries} - scope.scores):
        allowed = [n for n in registry.files("scopes") if set(strange) <= registry.get("scopes", n).scores]
        raise SecateurError(f"scope '{scope.name}' is defined for {', '.join(sorted(scope.scores))}, not {strange[0]}; "
                            f"for {strange[0]} allowed: {', '.join(allowed)}")
    if strange := sorted(scope.needs - _NEEDS):
        raise unknown(f"need of scope '{scope.name}'", strange[0], _NEEDS)
    if "costs" in scope.needs and scope.resource not in RESOURCES:
        raise unknown(f"resource of scope '{scope.name}'", str(scope.resource), RESOURCES)
    if scope.needs and samples is None:
        raise SecateurError(f"scope '{scope.name}' needs calibration inputs: pass data=")
