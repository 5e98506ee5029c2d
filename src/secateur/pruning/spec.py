"""What is cut how, as one value; what follows where a criterion or a sparsity was not named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from secateur.core.bounds import check_sparsity
from secateur.core.errors import SecateurError
from secateur.core.items import Item
from secateur.pruning.criteria.base import CriterionChoice, as_criterion, criteria_for
from secateur.pruning.granularity import GranularityChoice, resolve
from secateur.pruning.granularity.base import Granularity
from secateur.pruning.layer_rules import copy_layers, read_skip
from secateur.pruning.ranking import check_seed
from secateur.pruning.scopes import ScopeChoice, resolve_scope
from secateur.pruning.scopes.base import Scope
from secateur.pruning.scopes.budget import Budget
from secateur.quantization.settings import BitsChoice, bits_of


@dataclass(frozen=True, kw_only=True)
class PruningSpec(Item):
    """All pruning settings but the network, its data and the sparsity: one value for plans, pruners and callbacks.

    Lists become tuples, names of granularities and scopes the items; equal specs have equal hashes.

    Attributes:
        granularity: what one item is: ``"weight"``, ``"neuron"``, blocks such as ``"4x1"``, N:M such as ``"2:4"``, or
            an item with its settings, such as ``Neuron(round_to=8)``.
        criterion: what an item is worth: a name, ``pkg.module:name``, a criterion, or a function of weight and
            signals. By default ``magnitude`` for weights; for neurons ``elimination`` with data, ``l2`` without.
        scope: which items compete, or how much each layer loses: a name, or an item such as
            ``Global(max_sparsity=0.95)`` or ``Budget(ms=2.5, batch=64)``.
        recovery: what wins accuracy back after the cut: a name, an item such as ``Finetune(epochs=3)``, or a list.
        skip: what stays whole beside the output layer: names, expressions or modules; ``()`` lets that go, too.
        layers: from a module's name or a regular expression to its sparsity, or to any of ``sparsity``,
            ``granularity``, ``min_sparsity``, ``max_sparsity``, ``skip``.
        bits: in how many bits the cut network computes: 32, 16 or 8, or ``Int8(...)`` with its settings.
        seed: for a criterion or recovery that draws at random.

    Raises:
        SecateurError: an unknown name, or a value that is not allowed.

    >>> PruningSpec(granularity="4x1", scope="global").granularity
    Block(outputs=4, inputs=1, pooling='mean')
    """

    granularity: GranularityChoice = "weight"
    criterion: CriterionChoice = None
    scope: ScopeChoice = "layer"
    recovery: Any = None
    skip: Sequence[str | nn.Module] | None = None
    # A dict has no hash, and equal specs have equal hashes without it.
    layers: Mapping[str, Any] | None = field(default=None, hash=False)
    bits: BitsChoice = 32
    seed: int = 0

    def __post_init__(self) -> None:
        # Only an empty tuple lets the output layer go; an empty list, the outcome of some search, says nothing.
        skip = self.skip if self.skip in (None, ()) else read_skip(self.skip) or None
        bits_of(self.bits)
        several = isinstance(self.recovery, Sequence) and not isinstance(self.recovery, str)
        made = {"granularity": resolve(self.granularity), "scope": resolve_scope(self.scope),
                "recovery": tuple(self.recovery) if several else self.recovery,
                "skip": skip, "layers": copy_layers(self.layers), "seed": check_seed(self.seed)}
        for name, value in made.items():
            object.__setattr__(self, name, value)
        if self.criterion is not None:
            check_scores(*as_criterion(self.criterion), self.granularity_item)

    @property
    def granularity_item(self) -> Granularity:
        """The granularity with its settings."""
        return resolve(self.granularity)

    @property
    def scope_item(self) -> Scope:
        """The scope with its settings."""
        return resolve_scope(self.scope)

    def target(self, sparsity: float | None) -> float:
        """The sparsity that was asked for, or that follows from N:M; 0 where a budget's amount decides.

        Raises:
            SecateurError: it is missing, contradicts the others, or is not in [0, 1).
        """
        if self.granularity_item.sparsity is not None:
            return _check_fixed(self.granularity_item, self.granularity_item.sparsity, sparsity)
        scope = self.scope_item
        amount = isinstance(scope, Budget) and scope.amount is not None
        if sparsity is None and amount:
            return 0.0
        if sparsity is None:
            raise SecateurError(f"sparsity is missing: granularity '{self.granularity_item.name}' and scope "
                                f"'{scope.name}' need one in [0, 1), such as 0.9")
        if amount:
            raise SecateurError(f"sparsity {sparsity!r} and {scope}: allowed is one of them, or a budget without an "
                                "amount beside a sparsity")
        return check_sparsity(sparsity)


def spec_from(spec: PruningSpec | None, call: str, **settings: Any) -> PruningSpec:
    """The spec that a caller gave, or else one of the settings of the call; it has refused both at once.

    Raises:
        SecateurError: the spec is none.
    """
    if spec is not None and not isinstance(spec, PruningSpec):
        raise SecateurError(f"{call}: got {type(spec).__name__} as spec, allowed: a secateur.PruningSpec")
    return PruningSpec(**settings) if spec is None else spec


def check_no_recovery(call: str, spec: PruningSpec, why: str) -> None:
    """Refuse a spec whose recovery the call would not carry out."""
    if spec.recovery not in (None, "none"):
        raise SecateurError(f"{call}: got recovery {spec.recovery!r}, {why}; allowed: a spec without recovery, or "
                            "secateur.prune")


def check_scores(name: str, criterion: Any, granularity: Granularity) -> None:
    """Refuse a criterion that cannot score a granularity; the message names those that can."""
    if granularity.scored_as not in criterion.granularities:
        raise SecateurError(f"criterion '{name}' scores {', '.join(sorted(criterion.granularities))}, not "
                            f"'{granularity.name}'; for '{granularity.name}' allowed: "
                            f"{', '.join(criteria_for(granularity.name))}")


def _check_fixed(item: Granularity, fixed: float, sparsity: float | None) -> float:
    """The sparsity that N:M has, if nothing else was asked; 0 removes nothing."""
    if sparsity not in (None, 0, fixed):
        raise SecateurError(f"sparsity {sparsity!r} with granularity '{item.name}', whose sparsity is {fixed:g}: "
                            f"leave the sparsity out, or pass {fixed:g} (0 removes nothing)")
    return fixed if sparsity is None else float(sparsity)
