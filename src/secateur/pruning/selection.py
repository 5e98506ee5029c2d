"""The items of a network by what they are worth, ranked once: every plan at every sparsity is read from that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from secateur import graph
from secateur.core.errors import SecateurError, failing
from secateur.core.modules import parameter_shapes
from secateur.core.types import Cut, Group, Plan, Structure
from secateur.data.batch import as_tensors
from secateur.data.calibration import Calibration
from secateur.graph.check import check_weights
from secateur.pruning.allocation import Allocator, Entry
from secateur.pruning.checks import example_calls, underdetermined_layers, uneven_items, unused_weights
from secateur.pruning.criteria.base import as_criterion
from secateur.pruning.frozen_layers import find_frozen_layers
from secateur.pruning.granularity import configure, resolve
from secateur.pruning.granularity.base import Granularity, Unit, producers
from secateur.pruning.granularity.neuron import Neuron
from secateur.pruning.kept import Kept, idle_names
from secateur.pruning.layer_rules import (
    Rule,
    modules_meant,
    modules_within,
    names_of,
    resolve_skip,
    rule_of,
    rules,
    with_tied,
)
from secateur.pruning.output_layers import find_output_layers
from secateur.pruning.scan import Scan
from secateur.pruning.signals import SignalCollector
from secateur.pruning.signals.base import check_needs
from secateur.pruning.spec import PruningSpec, check_scores


class Selection:
    """The scores of a network, ranked once, from which a plan for every sparsity is read.

    Args:
        model: the network.
        spec: what is cut how.
        samples: what criteria and scopes look at.
        example: one input, or a tuple of them; by default the first sample.
        structure: the structure of the network, where it was traced before.
        outputs: the layers that make the outputs, where they are known; they stay whole unless ``spec.skip`` is ().
        frozen: the layers that are frozen as constants, where they are known; they stay as the outputs' do.
        scan: the layers that compete, scanned before.
    """

    def __init__(self, model: nn.Module, spec: PruningSpec | None = None, *, samples: Calibration | None = None,
                 example: Any = None, structure: Structure | None = None, outputs: Sequence[str] | None = None,
                 frozen: Sequence[str] | None = None, scan: Scan | None = None):
        self.spec = spec = spec or PruningSpec()
        self.granularity, self.scope = spec.granularity_item, spec.scope_item
        chosen = spec.criterion or self.granularity.criterion(samples is not None)
        self.criterion, self._criterion = as_criterion(chosen)
        check_scores(self.criterion, self._criterion, self.granularity)
        check_needs(f"criterion '{self.criterion}'", self._criterion.needs, samples, example)
        graph.check_whole(model)
        check_weights(model)
        self._rules = rules(model, spec.layers, self.scope)
        skipped = resolve_skip(model, spec.skip or ()) | {name for name, rule in self._rules.items() if rule.skip}
        example = samples.example() if example is None and samples is not None else as_tensors(example)
        self.structure = structure or self._trace(model, example)
        # No group that reaches an output can be cut, so that neurons need no output layer kept beside that.
        self.outputs, self._output_notes = ((), ()) if spec.skip == () or self.granularity.needs_example else (
            find_output_layers(model, self.structure, example) if outputs is None else (tuple(outputs), ()))
        self.frozen = () if spec.skip == () else find_frozen_layers(model, self.structure) if frozen is None else (
            tuple(frozen))
        self._kept = Kept(model, self.structure, self.granularity, skipped, modules_within(model, self.outputs),
                          self.frozen)
        places = self.granularity.places(self.structure, self._kept.all)
        self._kept_notes = [*self._kept.notes(), *self._idle_names(model)]
        self._check_places(places)
        tensors = [] if isinstance(places[0], Group) else [place.name for place in places]
        gather = SignalCollector(model, self._criterion.needs, tensors, samples, example, spec.seed)
        self._entries = self._score(model, places, gather)
        self._seen, self._runs = gather.seen, example_calls(samples, example)
        self._signal_notes = gather.notes(f"criterion '{self.criterion}'")
        self.layers = [entry.layer for entry in self._entries]
        self.granularities = [entry.granularity for entry in self._entries]
        self.shapes = parameter_shapes(model)
        self._allocator = Allocator(model, self._entries, self.scope, samples, self.structure, scan)

    def _trace(self, model: nn.Module, example: Any) -> Structure:
        if not self.granularity.needs_example:
            return Structure(graph.targets(model))
        if example is None:
            raise SecateurError(f"granularity '{self.granularity.name}' needs example=, one input of the network "
                                "or a tuple of them, to see which axes go together; got None")
        return graph.trace(model, example)

    def _idle_names(self, model: nn.Module) -> Iterator[str]:
        """Notes on names in ``skip`` and ``layers`` of modules that have nothing to cut."""
        for argument, names in (("skip", names_of(model, self.spec.skip or ())), ("layers", self.spec.layers or ())):
            meant = {pattern: with_tied(model, modules) for pattern, modules in
                     modules_meant(model, argument, names).items()}
            yield from idle_names(argument, meant, self.structure)

    def _check_places(self, places: Sequence[Any]) -> None:
        if not places:
            # Of neurons the groups say why they stay.
            other = () if self.granularity.needs_example else self._kept.of_kind()
            makers = ", ".join(name or "the network itself" for name in self.outputs)
            kept = f" ({makers} makes the output and stays whole: skip=() prunes it too)" * bool(self.outputs)
            raise SecateurError(f"nothing to cut: no {self.granularity.item} outside skip can be removed{kept}"
                                + "".join(f"; {g.name}: {g.reason}" for g in self.structure.groups if g.reason)
                                + "".join(f"; an operator without a rule: {name}" for name in self.structure.unknown)
                                + "".join(f"; {note}" for note in (*self.structure.notes, *self._kept_notes, *other)))

    def _score(self, model: nn.Module, places: Sequence[Any], gather: SignalCollector) -> list[Entry]:
        """Every place with the scores of its items, by its own granularity where it has one."""
        def score(tensor: Tensor, name: str, unit: Unit | None = None) -> Tensor:
            signals = gather.of(self.granularity.scored_as, name, unit)
            with failing(f"criterion '{self.criterion}' failed on '{name}'"):
                return self._criterion.score(tensor, signals)

        entries = []
        for place in places:
            modules = producers(place) if isinstance(place, Group) else {place.module}
            rule = rule_of(modules, self._rules, place.name)
            own = self._granularity_of(rule)
            _check_alike(place.name, own, self.granularity)
            _check_sparsity(place.name, own, rule.sparsity)
            entries.append(Entry(own.layer(model, place, score), own, rule))
        return entries

    def _granularity_of(self, rule: Rule) -> Granularity:
        """A layer's granularity; one that is only named pools its scores as the network's does."""
        if rule.granularity is None:
            return self.granularity
        pooling = getattr(self.granularity, "pooling", None)
        named = isinstance(rule.granularity, str) and pooling is not None
        return configure(resolve(rule.granularity), **({"pooling": pooling} if named else {}))

    def plan(self, sparsity: float | None = None) -> Plan:
        """The plan at one sparsity, from the ranking that was made at the start.

        Raises:
            SecateurError: a sparsity that is not in [0, 1), is missing, or contradicts N:M.
        """
        target = self.spec.target(sparsity)
        cuts, notes = self._allocator.cuts(target, spare=sparsity == 0)
        rounded = [_round(cut, entry) for cut, entry in zip(cuts, self._entries, strict=True)]
        for old, new, entry in zip(cuts, rounded, self._entries, strict=True):
            notes += _rounding_notes(old, new, entry)
        named = [replace(cut, granularity=entry.granularity.name if entry.rule.granularity and
                         entry.granularity.name != self.granularity.name else "")
                 for cut, entry in zip(rounded, self._entries, strict=True)]
        made = self._as_plan(target, named, [*notes, *self.structure.notes, *self._output_notes, *self._kept_notes,
                                             *self._kept.of_kind(), *self._idle_rules(), *self._cautions])
        return made if sparsity is not None or self.granularity.sparsity else replace(made, sparsity=made.reached)

    def _as_plan(self, sparsity: float, cuts: Sequence[Cut], notes: Sequence[str] = ()) -> Plan:
        return Plan(self.granularity.name, self.criterion, self.scope.name, sparsity, tuple(cuts), self.shapes,
                    (*notes, *uneven_items(cuts, self.granularity.item)), self.structure,
                    any(entry.rule.acts for entry in self._entries))

    def _idle_rules(self) -> Iterator[str]:
        """Notes on settings of layers that stay whole whatever is said of them."""
        return self._kept.idle_rules(self._rules, {name for layer in self.layers for name in layer.modules})

    @cached_property
    def _cautions(self) -> list[str]:
        """What a caller should know whatever the sparsity."""
        return [*unused_weights(self._allocator.model, self.layers, self._runs),
                *underdetermined_layers(self._seen, f"criterion '{self.criterion}'"), *self._signal_notes]

    def whole(self) -> Plan:
        """The plan that removes nothing."""
        keep = [torch.ones(entry.layer.scores.shape, dtype=torch.bool) for entry in self._entries]
        return self._as_plan(0.0, [entry.cut(k) for entry, k in zip(self._entries, keep, strict=True)])

    def scan(self, sparsities: Sequence[float]) -> Scan:
        """How far the outputs move when each layer is cut by itself, see :func:`secateur.sensitivity`."""
        return self._allocator.scan(sparsities)


def _round(cut: Cut, entry: Entry) -> Cut:
    """Keep the best of what would go, so that a multiple of the granularity's ``round_to`` stays."""
    item = entry.granularity
    if not isinstance(item, Neuron) or not cut.removed or not _rounds(cut):
        return cut
    kept = cut.items - cut.removed
    more = min(-(-kept // item.round_to) * item.round_to, cut.items) - kept
    best = entry.layer.scores.masked_fill(cut.keep, -torch.inf).topk(more).indices
    return replace(cut, keep=cut.keep.index_fill(0, best, True))


def _rounds(cut: Cut) -> bool:
    """Whether a multiple of the units is a multiple of what a machine computes at once: heads and experts are parts of
    many values each."""
    return cut.group is not None and cut.group.unit in ("neuron", "channel", "unit")


def _rounding_notes(before: Cut, after: Cut, entry: Entry) -> Iterator[str]:
    """A note where ``round_to`` left a layer more than was asked for, or does not concern it."""
    item = entry.granularity
    if not isinstance(item, Neuron) or item.round_to == 1 or not before.removed:
        return
    if after.group is not None and not _rounds(after):
        yield (f"{after.name}: {after.items - after.removed} of {after.items} {after.group.unit}s are left; "
               f"round_to={item.round_to} does not apply to {after.group.unit}s")
    elif not after.removed:
        yield f"{after.name}: nothing removed, because of round_to={item.round_to}: all {after.items} are left"
    elif after.removed < before.removed:
        yield (f"{after.name}: {after.removed} of {after.items} {item.item} removed, not {before.removed}, so that a "
               f"multiple of {item.round_to} is left")


def _check_alike(name: str, own: Granularity, whole: Granularity) -> None:
    """Refuse neurons and weights in one plan: what a layer loses with its neurons is not there to be zeroed."""
    if own.scored_as != whole.scored_as:
        raise SecateurError(f"layers: '{name}' has granularity '{own.name}', but the network is pruned by "
                            f"{whole.item}: neurons and weights need two plans; remove the neurons first, then prune "
                            "the weights that are left")


def _check_sparsity(name: str, own: Granularity, sparsity: float | None) -> None:
    """Refuse a layer's own sparsity that N:M contradicts."""
    if sparsity is not None and own.sparsity not in (None, sparsity):
        raise SecateurError(f"layers: sparsity {sparsity:g} of '{name}' with '{own.name}', whose sparsity is "
                            f"{own.sparsity:g}")
