"""The settings of a study or of a command, which are text and numbers, as one :class:`~secateur.PruningSpec`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from secateur.core.errors import SecateurError
from secateur.pruning.granularity import configure, resolve
from secateur.pruning.granularity.base import check_pooling
from secateur.pruning.ranking import check_round_to
from secateur.pruning.scopes import resolve_scope
from secateur.pruning.scopes.base import Scope
from secateur.pruning.scopes.budget import read_budget
from secateur.pruning.spec import PruningSpec


def spec_of(granularity: str, criterion: str | None, scope: str, *, layers: Mapping[str, Any] | None = None,
            min_sparsity: float = 0.0, max_sparsity: float = 1.0, pooling: str = "mean", round_to: int = 1,
            budget: str = "", skip: Sequence[str] | None = None, seed: int = 0) -> PruningSpec:
    """Each setting on the item that it belongs to.

    Args:
        budget: a resource, or JSON of an amount of it such as ``{"ms": 2.5, "batch": 64}``; for scope ``budget`` alone.

    Raises:
        SecateurError: a value that is not allowed, a budget beside another scope.
    """
    check_pooling(pooling)
    item = configure(resolve(granularity), pooling=pooling, round_to=check_round_to(round_to))
    return PruningSpec(granularity=item, criterion=criterion, skip=skip, layers=layers, seed=seed,
                       scope=_scope_of(scope, budget, min_sparsity=min_sparsity, max_sparsity=max_sparsity))


def _scope_of(scope: str, budget: str, **bounds: float) -> Scope:
    if budget and scope != "budget":
        raise SecateurError(f"budget= is for scope 'budget', got scope '{scope}'")
    return resolve_scope(scope, **(_budget_settings(budget) if budget else {}), **bounds)


def _budget_settings(text: str) -> dict[str, Any]:
    try:
        return read_budget(json.loads(text) if text.lstrip().startswith("{") else text)
    except json.JSONDecodeError as error:
        raise SecateurError(f"budget {text!r} is not JSON: allowed is a name such as flops, or an amount "
                            'such as {"flops": 1e6}') from error
