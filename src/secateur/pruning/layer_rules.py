"""What is said of single layers, by name or by regular expression: their settings, and which stay whole."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any

from torch import nn

from secateur.core.bounds import check_sparsity, is_number
from secateur.core.errors import SecateurError, unknown
from secateur.core.items import python_number
from secateur.pruning.granularity import resolve
from secateur.pruning.granularity.base import Granularity
from secateur.pruning.scopes.base import Scope, check_bounds

Settings = Mapping[str, Any]
_FORMER = {"least": "min_sparsity", "most": "max_sparsity"}
"""Names that settings of layers had before; stored runs hold them."""

_OWN = 1 << 30
"""The rank of what is said of a layer by its own name: above that of any module around it."""


@dataclass(frozen=True)
class Rule:
    """What holds for one layer; what is None is as everywhere.

    ``sparsity`` is the layer's own: its items then compete among themselves. ``granularity`` is its own
    (``weight``, ``4x1``, ``2:4``, or an item). At least ``min_sparsity`` and at most ``max_sparsity`` of its items go.
    """

    sparsity: float | None = None
    granularity: str | Granularity | None = None
    min_sparsity: float | None = None
    max_sparsity: float | None = None
    skip: bool | None = None

    @property
    def acts(self) -> bool:
        """Whether it says anything of how much goes, or of what an item is."""
        open_sides = (self.min_sparsity or 0) == 0 and (self.max_sparsity is None or self.max_sparsity == 1)
        return not open_sides or self.sparsity is not None or self.granularity is not None

    def bounds(self, items: int, keep_one: bool) -> tuple[int, int]:
        """The least and the most of ``items`` that may go; one stays at least where ``keep_one`` says so.

        >>> Rule(min_sparsity=0.25, max_sparsity=0.75).bounds(10, True)
        (3, 7)
        >>> Rule().bounds(10, True), Rule().bounds(10, False)
        ((0, 9), (0, 10))
        """
        low = math.ceil(Fraction(repr(float(self.min_sparsity or 0))) * items)
        most = 1 if self.max_sparsity is None else self.max_sparsity
        high = math.floor(Fraction(repr(float(most))) * items)
        high = min(high, items - 1) if keep_one else high
        return min(low, high), high


def copy_layers(layers: Settings | None) -> dict[str, Any] | None:
    """The settings of single layers in dicts of their own, with numbers of Python.

    Raises:
        SecateurError: no mapping, an unknown setting, or a value that is not allowed.

    >>> copy_layers({"fc1": 0.5, "conv.*": {"granularity": "4x1"}})
    {'fc1': 0.5, 'conv.*': {'granularity': '4x1'}}
    """
    if layers is None:
        return None
    if not isinstance(layers, Mapping):
        raise SecateurError(f"layers: got {layers!r}, allowed: a mapping from names or expressions to settings, such "
                            "as {'fc1': 0.5}")
    for pattern, settings in layers.items():
        read_rule(pattern, settings)
    return {pattern: {name: python_number(value) for name, value in settings.items()}
            if isinstance(settings, Mapping) else python_number(settings) for pattern, settings in layers.items()}


def rules(model: nn.Module, layers: Settings | None, scope: Scope) -> dict[str, Rule]:
    """The rule of every module that ``layers`` speaks of, the one of the others under the empty name.

    Args:
        model: the network.
        layers: from a module's name or a regular expression to its settings, a mapping with any of the
            fields of :class:`Rule`; a number alone is a sparsity. Modules inside are meant, too. A module's
            own name goes before that of one around it, a name before an expression.
        scope: has the bounds of every layer that has none of its own.

    Raises:
        SecateurError: an unknown module or setting, a value that is not allowed, two expressions that say
            different things of one module.
    """
    whole = Rule(min_sparsity=scope.min_sparsity, max_sparsity=scope.max_sparsity)
    names = [name for name, _ in model.named_modules() if name]
    aliases = _aliases(model)
    said: dict[str, list[tuple[int, str, Rule]]] = {}
    for pattern, settings in (layers or {}).items():
        hits = matching_modules("layers", pattern, names)
        rule = read_rule(pattern, settings)
        for name in names:
            # What is said of one name of a tied tensor is said of the tensor.
            around = [h for h in hits if any(_is_inside(alias, h) for alias in aliases[name])]
            if around:
                own = pattern in aliases[name]
                rank = _OWN if own else len(pattern) + 1 if pattern in around else 0
                said.setdefault(name, []).append((rank, pattern, rule))
    return {"": whole, **{name: _merge_rules(name, found, whole) for name, found in said.items()}}


def with_tied(model: nn.Module, names: frozenset[str]) -> frozenset[str]:
    """Some modules, and those that share a parameter with one of them, such as an embedding tied to the head."""
    aliases = _aliases(model)
    return frozenset(alias for name in names for alias in aliases.get(name, {name}))


def _aliases(model: nn.Module) -> dict[str, set[str]]:
    """For every module its own name and those of the modules that hold a parameter of it too."""
    owners: dict[int, set[str]] = defaultdict(set)
    for name, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)].add(name)
    return {name: {name}.union(*(owners[id(p)] for p in module.parameters(recurse=False)))
            for name, module in model.named_modules()}


def _is_inside(name: str, module: str) -> bool:
    """Whether a module is another, or lies inside it."""
    return name == module or name.startswith(f"{module}.")


def read_rule(pattern: str, settings: Any) -> Rule:
    """One entry of ``layers`` as a rule.

    >>> read_rule("fc", 0.5), read_rule("conv.*", {"granularity": "4x1"}).granularity
    (Rule(sparsity=0.5, granularity=None, min_sparsity=None, max_sparsity=None, skip=None), '4x1')
    """
    known = [f.name for f in fields(Rule)]
    if is_number(settings):
        settings = {"sparsity": settings}
    if not isinstance(settings, Mapping):
        raise SecateurError(f"layers['{pattern}'] is {settings!r}: allowed is a sparsity or a mapping with any of "
                            f"{', '.join(known)}")
    settings = {_FORMER.get(name, name): value for name, value in settings.items()}
    if strange := [name for name in settings if name not in known]:
        raise unknown(f"setting of layers['{pattern}']", str(strange[0]), known)
    return _check_rule(f"layers['{pattern}']", Rule(**settings))


def _check_rule(what: str, rule: Rule) -> Rule:
    """The rule, if its values are allowed."""
    check_bounds(what, rule.min_sparsity, rule.max_sparsity)
    if rule.sparsity is not None:
        check_sparsity(rule.sparsity)
    if rule.granularity is not None:
        resolve(rule.granularity)
    return rule


def _merge_rules(name: str, found: list[tuple[int, str, Rule]], whole: Rule) -> Rule:
    """One rule from all that speak of a module: each setting from the nearest that has it."""
    rule = whole
    for setting in (f.name for f in fields(Rule)):
        having = [(rank, pattern, getattr(r, setting)) for rank, pattern, r in found if getattr(r, setting) is not None]
        best = [(p, v) for rank, p, v in having if rank == max(r for r, _, _ in having)]
        if len({v for _, v in best}) > 1:
            said = ", ".join(f"'{p}' says {v}" for p, v in best)
            raise SecateurError(f"layers: {setting} of '{name}' is ambiguous: {said}; allowed: one value, or the "
                                "layer's own name as the key")
        if best:
            rule = replace(rule, **{setting: best[0][1]})
    return _check_rule(f"layers['{name}']", rule)


def rule_of(modules: Iterable[str], known: Mapping[str, Rule], what: str) -> Rule:
    """The rule of a layer, which several modules may make (a residual stream).

    Raises:
        SecateurError: the modules have different rules.
    """
    found = {m: known.get(m, known[""]) for m in sorted(modules)}
    if len(set(found.values())) > 1:
        raise SecateurError(f"layers: '{what}' is made by {', '.join(found)} together, which must have the same "
                            "settings")
    return next(iter(found.values()), known[""])


def _matches(pattern: str, name: str) -> bool:
    """Whether a regular expression is all of a name; what is no expression matches nothing.

    >>> _matches("block.*", "block1"), _matches("[", "block1")
    (True, False)
    """
    try:
        return re.fullmatch(pattern, name) is not None
    except re.error:
        return False


def matching_modules(argument: str, pattern: str, names: Sequence[str]) -> list[str]:
    """The modules of that name, or whose names the expression matches; none is an error of ``argument``."""
    hits = [n for n in names if n == pattern or _matches(pattern, n)]
    if not hits:
        raise unknown(f"module in {argument}", pattern, names)
    return hits


def resolve_skip(model: nn.Module, skip: Iterable[str | nn.Module], argument: str = "skip") -> frozenset[str]:
    """The modules that ``skip``, or another ``argument`` like it, names, exactly or as regular expressions, or holds,
    with all modules inside them.

    Raises:
        SecateurError: a name that no module has, a module that the network does not have, either of them twice.
    """
    patterns = names_of(model, skip)
    if twice := sorted({p for p in patterns if patterns.count(p) > 1}):
        raise SecateurError(f"{argument} names {', '.join(twice)} twice")
    return frozenset().union(*modules_meant(model, argument, patterns).values())


def names_of(model: nn.Module, skip: Iterable[str | nn.Module]) -> list[str]:
    """The names and expressions that ``skip`` holds, modules by the names that they have in the network.

    Raises:
        SecateurError: it is no list of them, or a module is not of the network.
    """
    return [one if isinstance(one, str) else _name_of(model, one) for one in read_skip(skip)]


def modules_meant(model: nn.Module, argument: str, patterns: Iterable[str]) -> dict[str, frozenset[str]]:
    """The modules that each of some names or expressions means, with all modules inside them.

    Raises:
        SecateurError: one means none.
    """
    names = [name for name, _ in model.named_modules() if name]
    hits = {pattern: matching_modules(argument, pattern, names) for pattern in patterns}
    return {pattern: frozenset(n for n in names if any(_is_inside(n, one) for one in found))
            for pattern, found in hits.items()}


def modules_within(model: nn.Module, names: Iterable[str]) -> frozenset[str]:
    """Some modules and those inside them; of the network itself, under the empty name, itself alone.

    >>> net = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 1))
    >>> sorted(modules_within(net, ["0"])), sorted(modules_within(net, [""]))
    (['0', '0.0'], [''])
    """
    return frozenset(name for name, _ in model.named_modules() for one in names
                     if (_is_inside(name, one) if one else not name))


def read_skip(skip: object) -> tuple[str | nn.Module, ...]:
    """Names and modules as a tuple.

    Raises:
        SecateurError: it is no list of them.
    """
    parts = tuple(skip) if isinstance(skip, Iterable) and not isinstance(skip, (str, nn.Module)) else (None,)
    if not all(isinstance(one, (str, nn.Module)) for one in parts):
        raise SecateurError(f"skip: got {skip!r}, allowed: a list of names of modules or of modules, such as ['head'] "
                            "or [model.head]")
    return parts  # type: ignore[return-value]


def _name_of(model: nn.Module, module: nn.Module) -> str:
    """The name that a network has for one of its modules."""
    name = next((name for name, other in model.named_modules() if other is module and name), None)
    if name is None:
        raise SecateurError(f"skip: {type(module).__name__} is not a module of this network; allowed: one of "
                            "model.modules(), or its name")
    return name
