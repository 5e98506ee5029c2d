"""Scored layers, a scope and a sparsity in, the cuts out: who competes with whom, and how many go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core import registry
from secateur.core.errors import SecateurError
from secateur.core.types import Cut, Plan, Structure
from secateur.pruning.apply import apply
from secateur.pruning.granularity.base import Granularity, Layer
from secateur.pruning.layer_rules import Rule
from secateur.pruning.ranking import Ranking, removal_count
from secateur.pruning.scopes._scan import GRID, Scan, scan
from secateur.pruning.scopes.base import Allocation, Given, Scope

Cuts = tuple[dict[int, Cut], list[str]]


@dataclass(frozen=True, eq=False)
class Entry:
    """One layer with what an item of it is, how that is written, and the settings that hold for it."""

    layer: Layer
    granularity: Granularity
    written: str
    rule: Rule

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the most items that may go."""
        return self.rule.bounds(self.layer.items, self.granularity.keep_one)

    @property
    def size(self) -> int:
        """How many weights one item is (1 for neurons)."""
        keep = torch.ones_like(self.layer.scores, dtype=torch.bool)
        return self.granularity.cut(self.layer, keep).size

    @property
    def own(self) -> float | None:
        """The sparsity that the layer has whatever is asked of the others."""
        return self.granularity.sparsity if self.granularity.sparsity is not None else self.rule.sparsity


class Competition:
    """The layers of a network, ranked once, from which the cuts for every sparsity are read.

    Layers with a sparsity of their own (their rule's, or that of N:M) stand alone. The others compete as the
    scope says, those of one granularity and block size among themselves: the scores of different items
    cannot be compared.

    Args:
        entries: the layers.
        scope: the scope's name.
        given: the network, and what the scope needs.
        structure: the groups of the network, which a cut of neurons needs.
        known: a scan of all that compete, from earlier.

    Raises:
        SecateurError: the scope is not defined here, or lacks something that it needs.
    """

    def __init__(self, entries: Sequence[Entry], scope: str, given: Given, structure: Structure | None = None,
                 known: Scan | None = None):
        self.entries, self.structure, self.given = list(entries), structure, given
        self._scans: dict[tuple[tuple[str, ...], tuple[float, ...]], Scan] = {}
        if known:
            self._scans[tuple(c.name for c in known.curves), GRID] = known
        self.alone = [i for i, e in enumerate(entries) if e.own is not None]
        kinds = {e.written: [i for i, o in enumerate(entries) if o.written == e.written and o.own is None]
                 for e in entries if e.own is None}
        self.scope = scope_for(scope, [e for e in entries if e.own is None] or list(entries), given)
        if not kinds and scope != "layer":
            raise SecateurError(f"scope '{scope}' says how much each layer loses, but every layer has a sparsity of "
                                "its own; allowed: layer")
        if "budget" in self.scope.needs and len(kinds) > 1:
            raise SecateurError(f"scope '{scope}' divides items of one kind, got {', '.join(kinds)}; give the others "
                                "a sparsity of their own")
        self._single = {i: self._ranking([i]) for i in self.alone}
        self._sets = {kind: (members, self._ranked(members)) for kind, members in kinds.items()}

    def _ranking(self, members: Sequence[int]) -> Ranking:
        return self.entries[members[0]].granularity.ranking([self.entries[i].layer.scores for i in members])

    def _ranked(self, members: Sequence[int]) -> list[tuple[list[int], Ranking]]:
        """The sets of competitors among the layers of one kind, each with its ranking."""
        granularity = self.entries[members[0]].granularity
        scores = granularity.comparable([self.entries[i].layer.scores for i in members])
        scores = self.scope.comparable(scores)
        return [([members[k] for k in places], granularity.ranking([scores[k] for k in places]))
                for places in self.scope.competitors(len(members))]

    def cuts(self, sparsity: float, spare: bool = False) -> tuple[list[Cut], list[str]]:
        """The cut of every layer, and notes of where a bound or guard acted.

        Args:
            sparsity: of the layers that have none of their own.
            spare: also leave those of N:M whole, because 0 was asked of a network that is N:M as a whole.
        """
        keeps: dict[int, Tensor] = {}
        notes: list[str] = []
        for i, ranking in self._single.items():
            own = 0.0 if spare else self.entries[i].own or 0.0
            self._take(keeps, notes, [i], ranking, removal_count(ranking.items, own))
        for members, sets in self._sets.values():
            for (places, ranking), count in zip(sets, self._removals(members, sparsity, notes), strict=True):
                self._take(keeps, notes, places, ranking, count)
        return [self._cut(i, keeps[i]) for i in range(len(self.entries))], notes

    def scan(self, sparsities: Sequence[float]) -> Scan:
        """How far the outputs move when each of the layers that compete is cut by itself."""
        if len(self._sets) != 1:
            raise SecateurError(f"a scan cuts items of one kind, got {', '.join(self._sets) or 'only layers with a '}"
                                f"{'' if self._sets else 'sparsity of their own'}")
        ((members, _),) = self._sets.values()
        return self._scanned(members, sparsities)

    def _scanned(self, members: Sequence[int], sparsities: Sequence[float] = GRID) -> Scan:
        """The scan of some layers, made once."""
        names = tuple(self.entries[i].layer.name for i in members)
        if (names, tuple(sparsities)) not in self._scans:
            self._scans[names, tuple(sparsities)] = scan(*self._asked_of(members), sparsities)
        return self._scans[names, tuple(sparsities)]

    def _asked_of(self, members: Sequence[int]) -> tuple[list[Layer], list[tuple[int, int]], Given]:
        given = replace(self.given, sizes=tuple(self.entries[i].size for i in members),
                        network=lambda counts: self._network(members, counts), scan=lambda: self._scanned(members))
        return [self.entries[i].layer for i in members], [self.entries[i].bounds for i in members], given

    def _removals(self, members: list[int], sparsity: float, notes: list[str]) -> list[int]:
        layers, bounds, given = self._asked_of(members)
        return self.scope.removals(layers, sparsity, bounds, replace(given, tell=notes.append))

    def _take(self, keeps: dict[int, Tensor], notes: list[str], members: list[int], ranking: Ranking,
              count: int) -> None:
        """Keep the best of one set within the bounds of its layers, and say where these acted."""
        bounds = [self.entries[i].bounds if self._bounded(i) else (0, self.entries[i].layer.items) for i in members]
        free = ranking.take(count)
        kept = ranking.take(count, bounds)
        for i, before, after, bound in zip(members, free, kept, bounds, strict=True):
            keeps[i] = after
            notes += self._told(i, gone(before), gone(after), bound)
        reached = sum(map(gone, kept))
        if len(members) > 1 and reached != count:
            notes.append(f"{count} of {ranking.items} asked for, {reached} go: the bounds of the layers allow no more"
                         if reached < count else f"{count} asked for, {reached} go: the layers' least is more")

    def _bounded(self, i: int) -> bool:
        return self.entries[i].granularity.sparsity is None

    def _told(self, i: int, before: int, after: int, bound: tuple[int, int]) -> list[str]:
        entry, total = self.entries[i], self.entries[i].layer.items
        name, item, (low, high) = entry.layer.name, entry.granularity.item, bound
        if before == total and after == total - 1 and total > 1:
            return [f"{name}: one of {total} {item} kept, all would have gone"]
        if after == high == total - 1 and isinstance(self.scope, Allocation) and total > 1 and entry.own is None:
            return [f"{name}: one of {total} {item} kept, the scope takes all that may go"]
        if (before > high and after == high) or before < low:
            side = f"most={entry.rule.most:g}" if before > high and entry.rule.most != 1 else (
                f"least={entry.rule.least or 0:g}" if before < low else "one has to stay")
            return [f"{name}: {after} of {total} {item} go, not {before}: {side}"]
        return []

    def _cut(self, i: int, keep: Tensor) -> Cut:
        entry = self.entries[i]
        return entry.granularity.cut(entry.layer, keep)

    def _network(self, members: Sequence[int], counts: Sequence[int]) -> nn.Module:
        """The network with so many items of each of some layers cut, besides those of layers that stand alone."""
        cuts = [self._cut(i, self._single[i].take(removal_count(self.entries[i].layer.items, self.entries[i].own or 0))
                          [0]) for i in self.alone]
        singles = dict(zip(members, counts, strict=True))
        for (place,), ranking in (self._sets[self.entries[members[0]].written])[1]:
            cuts.append(self._cut(place, ranking.take(singles[place])[0]))
        shapes = {n: tuple(p.shape) for n, p in self.given.model.named_parameters()}
        plan = Plan(self.entries[0].written, "", "", 0.0, tuple(cuts), shapes, structure=self.structure)
        return apply(self.given.model, plan, prove=False)


def gone(keep: Tensor) -> int:
    """How many items go."""
    return keep.numel() - int(torch.count_nonzero(keep))


def scope_for(name: str, entries: Sequence[Entry], given: Given) -> Scope:
    """The scope, if it is defined for these layers and has what it needs.

    Raises:
        SecateurError: it is not, or has not; every missing need is named.
    """
    item: Scope = registry.get("scopes", name)()
    if strange := sorted({e.granularity.scored_as for e in entries} - item.scores):
        allowed = [n for n in registry.files("scopes") if set(strange) <= registry.get("scopes", n).scores]
        raise SecateurError(f"scope '{name}' is defined for {', '.join(sorted(item.scores))}, not {strange[0]}; "
                            f"for {strange[0]} allowed: {', '.join(allowed)}")
    ways: dict[str, Any] = {"samples": "data= (samples of the network's input)", "budget": "budget= ('flops' …)"}
    if missing := [ways[n] for n in sorted(item.needs) if getattr(given, n) is None]:
        raise SecateurError(f"scope '{name}' needs {' and '.join(missing)}; got neither" if len(missing) > 1 else
                            f"scope '{name}' needs {missing[0]}; got None")
    if given.budget is not None and "budget" not in item.needs:
        raise SecateurError(f"budget= is for scope 'budget', got scope '{name}'")
    return item
