"""What stays whole of a network, and what a plan's notes say of it where neither a default nor a caller named it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from secateur import graph
from secateur.core.text import join_first, percent
from secateur.core.types import Group, Structure, Target
from secateur.graph.targets import weights
from secateur.pruning.granularity.base import Granularity, makers
from secateur.pruning.layer_rules import Rule, with_tied

_SHOWN = 3
"""How many layers a note names."""
_LOOKED_UP = (nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.RMSNorm)
"""Modules of torch whose parameters may have several axes, but are no weights that inputs are multiplied by."""


@dataclass(frozen=True, eq=False)
class Kept:
    """The modules, or tensors, of a network that stay whole by name.

    Attributes:
        model: the network.
        structure: its targets and groups.
        granularity: what an item is.
        skipped: those that a caller named.
        outputs: those that make the outputs.
        frozen: those that are frozen as constants.
    """

    model: nn.Module
    structure: Structure
    granularity: Granularity
    skipped: frozenset[str]
    outputs: frozenset[str]
    frozen: tuple[str, ...]

    @property
    def all(self) -> frozenset[str]:
        """All of them, and those that share a weight with one of them."""
        return with_tied(self.model, self._named)

    @property
    def _named(self) -> frozenset[str]:
        return self.skipped | self.outputs | frozenset(self.frozen)

    def notes(self) -> Iterator[str]:
        """What a plan's notes should say of what stays but could be cut."""
        yield from self._frozen_note()
        yield from self._tied_notes()

    def of_kind(self) -> Iterator[str]:
        """The same of layers that this granularity does not reach."""
        if self.granularity.needs_example:
            yield from kept_groups(self.structure, self.all)
        else:
            yield from other_weights(self.model, self.structure, self.all)

    def _frozen_note(self) -> Iterator[str]:
        """The note on what would be cut, were it not frozen."""
        would = _makers(self.granularity.places(self.structure, with_tied(self.model, self.skipped | self.outputs)))
        if layers := [name for name in self.frozen if name in would]:
            yield frozen_note(layers)

    def _tied_notes(self) -> Iterator[str]:
        """Notes on layers that stay because they share a weight with one that does."""
        told = set[str]()
        for names, reason in ((self.skipped, "skip names one of them"), (self.frozen, "it is frozen"),
                              (self.outputs, "one of them makes an output; skip=() prunes them too")):
            for name in names:
                layers = sorted(one for one in with_tied(self.model, frozenset({name})) if one not in told
                                and self._is_layer(one))
                if len(layers) > 1 and not self.skipped.issuperset(layers):
                    yield f"{_stay(layers)}, because they share a weight and {reason}"
                told.update(layers)

    def _is_layer(self, name: str) -> bool:
        """Whether a name is that of a module whose weights can be cut."""
        try:
            return any(weights(self.model.get_submodule(name)))
        except AttributeError:
            return False

    def idle_rules(self, rules: Mapping[str, Rule], cut: Collection[str]) -> Iterator[str]:
        """Notes on settings of single layers that decide nothing, because the layer stays.

        Args:
            rules: the rule of every module that has one, that of the others under the empty name.
            cut: the modules of which something may go.
        """
        reasons, found = self._reasons(), defaultdict[str, list[str]](list)
        for name, rule in rules.items():
            if name in reasons and name not in cut and not rule.skip and rule != rules[""]:
                found[reasons[name]].append(name)
        for reason, names in found.items():
            yield f"{_stay(names)}, because {reason}; its settings in layers= have no effect"

    def _reasons(self) -> dict[str, str]:
        """Why what makes items stays, by module."""
        found = {name: group.reason for group in self.structure.groups for name in makers(group) if group.reason}
        found |= dict.fromkeys(self.all, "it shares its weight with a layer that stays whole")
        found |= dict.fromkeys(self.frozen, "it is frozen (skip=() prunes it too)")
        found |= dict.fromkeys(self.outputs, "it makes an output (skip=() prunes it too)")
        found |= dict.fromkeys(self.skipped, "skip names it")
        return found if self.granularity.needs_example else {
            name: reason for name, reason in found.items() if name in _makers(self.structure.targets)}


def _makers(places: Iterable[Target | Group]) -> set[str]:
    """The modules, and of groups the tensors, that make the items of some places."""
    return set().union(*(makers(place) if isinstance(place, Group) else {place.module} for place in places))


def frozen_note(layers: list[str]) -> str:
    """What a plan says of the layers that stay because they are frozen.

    >>> frozen_note(["a", "b", "c", "d", "e"])
    'frozen layers (requires_grad=False) stay whole: a, b, c and 2 more; skip=() prunes them too'
    """
    return f"frozen layers (requires_grad=False) stay whole: {join_first(layers, _SHOWN)}; skip=() prunes them too"


def kept_groups(structure: Structure, known: Collection[str]) -> Iterator[str]:
    """Notes on layers of which no group of neurons can be cut, though they make no output.

    Args:
        structure: the groups.
        known: modules that stay for a reason that is told elsewhere.
    """
    told = set(known) | _makers(g for g in structure.groups if g.cuttable or g.reason == graph.OUTPUT)
    reasons = defaultdict[str, list[str]](list)
    for group in structure.groups:
        # What the outputs do not feel could be cut, and may lie beside what is.
        if group.reason == graph.UNFELT or not (group.cuttable or makers(group) & told):
            reasons[group.reason].append(group.name.partition(":")[0])
    for reason, names in reasons.items():
        yield f"{_stay(list(dict.fromkeys(names)))} ({reason})"


def other_weights(model: nn.Module, structure: Structure, known: Collection[str]) -> Iterator[str]:
    """Notes on weights of several axes that are of no layer whose weights are cut, and on layers whose weight is a
    buffer.

    >>> net = nn.Sequential(nn.Linear(4, 1, bias=False), nn.Bilinear(2, 2, 3, bias=False))
    >>> next(other_weights(net, Structure(graph.targets(net)), ())).partition(";")[0]
    '1.weight: stays whole, 75% of the parameters'
    """
    told = {id(p) for module in model.modules() if isinstance(module, _LOOKED_UP) for p in module.parameters()}
    told |= {id(getattr(model.get_submodule(t.module), t.name.rpartition(".")[2])) for t in structure.targets}
    found = {name: p for name, p in model.named_parameters() if sum(side > 1 for side in p.shape) > 1
             and id(p) not in told and name.rpartition(".")[0] not in known}
    if found:
        part = sum(p.numel() for p in found.values()) / sum(p.numel() for p in model.parameters())
        yield (f"{_stay([*found])}, {percent(part)} of the parameters; only weights of linear, convolutional and "
               "recurrent layers are pruned")
    constant = [name for name, module in model.named_modules() if name not in known
                and any(tensor in module._buffers for tensor, _, _ in weights(module))]
    if constant:
        yield f"{_stay(constant)}, because the weight is a buffer, not a parameter"


def idle_names(argument: str, covered: Mapping[str, Collection[str]], structure: Structure) -> Iterator[str]:
    """Notes on names and expressions that mean no module of which anything could be cut.

    Args:
        argument: where they were given, ``skip`` or ``layers``.
        covered: the modules that each of them means.
        structure: the network's targets and groups.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> list(idle_names("skip", {"0": ["0"], "1": ["1"]}, Structure(graph.targets(net))))
    ["skip: '1' has no effect, because nothing in it can be pruned"]
    """
    items = _makers([*structure.targets, *structure.groups])
    for pattern, modules in covered.items():
        if not items & set(modules):
            yield f"{argument}: '{pattern}' has no effect, because nothing in it can be pruned"


def _stay(names: list[str]) -> str:
    """The start of a note on layers that stay.

    >>> _stay(["a"]), _stay(["a", "b", "c", "d"])
    ('a: stays whole', 'a, b, c and 1 more: stay whole')
    """
    return f"{join_first(names, _SHOWN)}: {'stays' if len(names) == 1 else 'stay'} whole"
