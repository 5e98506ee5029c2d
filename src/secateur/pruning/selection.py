"""The items of a network by what they are worth, ranked once: every plan at every sparsity is read from that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from secateur import graph
from secateur.core.errors import SecateurError, failing, unknown
from secateur.core.types import Cut, Group, Plan, Structure
from secateur.data.calibration import Calibration
from secateur.graph.check import check_weights
from secateur.pruning.allocation import Competition, Entry
from secateur.pruning.budget import read_budget
from secateur.pruning.checks import few, idle, runs
from secateur.pruning.criteria.base import Criterion, Function, as_criterion, criteria_for
from secateur.pruning.granularity import resolve
from secateur.pruning.granularity.base import POOLINGS, Granularity, Layer, Unit, producers
from secateur.pruning.layer_rules import Settings, resolve_skip, rule_of, rules
from secateur.pruning.ranking import check_round_to, check_seed
from secateur.pruning.scopes._scan import Scan
from secateur.pruning.scopes.base import Given
from secateur.pruning.signals import Gatherer
from secateur.pruning.signals.base import check_needs
from secateur.pruning.signals.collect import sources
from secateur.pruning.spec import asked, default_criterion

Chosen = str | Criterion | Function | None


class Selection:
    """The scores of a network, ranked once, from which a plan for every sparsity is read.

    Arguments as in :func:`secateur.pruning.plan.plan`. ``structure`` may be given where it was traced before, ``scan``
    where the layers were scanned before.
    """

    def __init__(self, model: nn.Module, granularity: str = "weight", criterion: Chosen = None,
                 scope: str = "layer", skip: Sequence[str] = (), example: Any = None, seed: int = 0,
                 structure: Structure | None = None, round_to: int = 1, pooling: str = "mean",
                 samples: Calibration | None = None, layers: Settings | None = None, least: float = 0.0,
                 most: float = 1.0, budget: Any = None, scan: Scan | None = None):
        self._granularity = pooled_by(resolve(granularity), pooling)
        self.granularity, self.scope, self.round_to = granularity, scope, check_round_to(round_to)
        seed = check_seed(seed)
        default = default_criterion(granularity, samples is not None)
        self.criterion, self._criterion = criterion_for(criterion or default, granularity)
        check_needs(f"criterion '{self.criterion}'", self._criterion.needs, sources(samples, example, seed))
        graph.check_whole(model)
        check_weights(model)
        self._rules = rules(model, layers, least, most)
        skipped = resolve_skip(model, skip) | {name for name, rule in self._rules.items() if rule.skip}
        example = samples.example() if example is None and samples is not None else example
        self.structure = structure or self._read(model, example)
        gather = self._gatherer(model, self._granularity.places(self.structure, skipped), samples, example, seed)
        self._entries = self._score(model, self._granularity.places(self.structure, skipped), gather)
        self._seen, self._runs = gather.seen, runs(samples, example)
        self.layers = [entry.layer for entry in self._entries]
        self.shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
        self.budget = read_budget(budget)
        given = Given(model, samples, self.budget)
        self._competition = Competition(self._entries, scope, given, self.structure, scan)

    def _read(self, model: nn.Module, example: Any) -> Structure:
        if not self._granularity.needs_example:
            return Structure(graph.targets(model), (), ())
        if example is None:
            raise SecateurError(f"granularity '{self.granularity}' needs example=, one input of the network "
                                "or a tuple of them, to see which axes go together; got None")
        return graph.trace(model, example)

    def _gatherer(self, model: nn.Module, places: Sequence[Any], samples: Calibration | None, example: Any,
                  seed: int) -> Gatherer:
        if not places:
            raise SecateurError(f"nothing to cut: no {self._granularity.item} outside skip can be removed"
                                + "".join(f"; {g.name}: {g.reason}" for g in self.structure.groups if g.reason)
                                + "".join(f"; an operator without a rule: {name}" for name in self.structure.unknown)
                                + "".join(f"; {note}" for note in self.structure.notes))
        tensors = [] if isinstance(places[0], Group) else [place.name for place in places]
        return Gatherer(model, self._criterion.needs, tensors, samples, example, seed)

    def _score(self, model: nn.Module, places: Sequence[Any], gather: Gatherer) -> list[Entry]:
        """Every place with the scores of its items, by its own granularity where it has one."""
        def score(tensor: Tensor, name: str, unit: Unit | None = None) -> Tensor:
            signals = gather.of(self._granularity.scored_as, name, unit)
            with failing(f"criterion '{self.criterion}' failed on '{name}'"):
                return self._criterion.score(tensor, signals)

        entries = []
        for place in places:
            modules = producers(place) if isinstance(place, Group) else {place.module}
            rule = rule_of(modules, self._rules, place.name)
            written = rule.granularity or self.granularity
            own = pooled_by(resolve(written), self._granularity.pooling) if rule.granularity else self._granularity
            check_alike(place.name, written, own, self._granularity)
            check_follows(place.name, written, own, rule.sparsity)
            entries.append(Entry(own.layer(model, place, score), own, written, rule))
        return entries

    def plan(self, sparsity: float | None = None) -> Plan:
        """The plan at one sparsity, from the ranking that was made at the start.

        Raises:
            SecateurError: a sparsity that is not in [0, 1), is missing, or contradicts N:M.
        """
        asked = self._asked(sparsity)
        cuts, notes = self._competition.cuts(asked, spare=sparsity == 0)
        cuts = [replace(cut, granularity=entry.written if entry.written != self.granularity else "")
                for cut, entry in zip(cuts, self._entries, strict=True)]
        rounded = [self._rounded(cut, entry.layer) for cut, entry in zip(cuts, self._entries, strict=True)]
        whole = [new for old, new in zip(cuts, rounded, strict=True) if old.removed and not new.removed]
        notes = [*notes, *(f"{cut.name}: nothing removed, {cut.items} are left whole to be a multiple of "
                           f"{self.round_to}" for cut in whole)]
        notes += [f"{g.name}: stays whole, {g.reason}" for g in self.structure.groups if g.reason == graph.UNFELT]
        cuts, notes = rounded, [*notes, *self._cautions]
        made = Plan(self.granularity, self.criterion, self.scope, asked, tuple(cuts), self.shapes, tuple(notes),
                    self.structure, any(entry.rule.acts for entry in self._entries))
        return made if sparsity is not None or self._granularity.sparsity else replace(made, sparsity=made.reached)

    @cached_property
    def _cautions(self) -> list[str]:
        """What a caller should know whatever the sparsity."""
        return [*idle(self._competition.given.model, self.layers, self._runs),
                *few(self._seen, f"criterion '{self.criterion}'")]

    def whole(self) -> Plan:
        """The plan that removes nothing."""
        cuts = [e.granularity.cut(e.layer, torch.ones(e.layer.scores.shape, dtype=torch.bool)) for e in self._entries]
        return Plan(self.granularity, self.criterion, self.scope, 0.0, tuple(cuts), self.shapes, (), self.structure)

    def scan(self, sparsities: Sequence[float]) -> Scan:
        """How far the outputs move when each layer is cut by itself, see :func:`secateur.sensitivity`."""
        return self._competition.scan(sparsities)

    def _asked(self, sparsity: float | None) -> float:
        """The sparsity that was asked for, or that follows."""
        return asked(self.granularity, self.scope, self.budget, sparsity)

    def _rounded(self, cut: Cut, layer: Layer) -> Cut:
        """Keep the best of what would go, so that a multiple of ``round_to`` stays."""
        if cut.group is None or cut.group.unit not in ("neuron", "channel") or not cut.removed:
            return cut
        kept = cut.items - cut.removed
        more = min(-(-kept // self.round_to) * self.round_to, cut.items) - kept
        best = layer.scores.masked_fill(cut.keep, -torch.inf).topk(more).indices
        return replace(cut, keep=cut.keep.index_fill(0, best, True))


def criterion_for(choice: str | Criterion | Function, granularity: str) -> tuple[str, Criterion]:
    """The name of a criterion and the criterion, if it can score this granularity.

    Raises:
        SecateurError: it cannot; the message names those that can.
    """
    name, item = as_criterion(choice)
    if resolve(granularity).scored_as not in item.granularities:
        raise SecateurError(f"criterion '{name}' scores {', '.join(sorted(item.granularities))}, not '{granularity}'; "
                            f"for '{granularity}' allowed: {', '.join(criteria_for(granularity))}")
    return name, item


def pooled_by(granularity: Granularity, pooling: str) -> Granularity:
    """The granularity with a pooling, if that is known."""
    if pooling not in POOLINGS:
        raise unknown("pooling", pooling, POOLINGS)
    granularity.pooling = pooling
    return granularity


def check_alike(name: str, written: str, own: Granularity, whole: Granularity) -> None:
    """Refuse neurons and weights in one plan: what a layer loses with its neurons is not there to be zeroed."""
    if own.scored_as != whole.scored_as:
        raise SecateurError(f"layers: '{name}' is to be cut by '{written}', the network by {whole.item}: neurons and "
                            "weights take two plans; cut the neurons first, then the weights of what is left")


def check_follows(name: str, written: str, own: Granularity, sparsity: float | None) -> None:
    """Refuse a layer's own sparsity that N:M contradicts."""
    if sparsity is not None and own.sparsity not in (None, sparsity):
        raise SecateurError(f"layers: sparsity {sparsity:g} of '{name}' with '{written}', which has {own.sparsity:g}")
