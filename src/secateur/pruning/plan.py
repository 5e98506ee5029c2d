"""What exactly goes, said without touching the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from secateur.core.module_state import evaluating
from secateur.core.types import Plan
from secateur.data.calibration import calibration
from secateur.graph.check import check_module
from secateur.pruning.arguments import refuse_wrong_arguments
from secateur.pruning.criteria.base import CriterionChoice
from secateur.pruning.granularity import GranularityChoice
from secateur.pruning.scopes import ScopeChoice
from secateur.pruning.selection import Selection
from secateur.pruning.spec import PruningSpec, check_no_recovery, spec_from


@refuse_wrong_arguments
def plan(model: nn.Module, sparsity: float | None = None, *, granularity: GranularityChoice = "weight",
         criterion: CriterionChoice = None, scope: ScopeChoice = "layer", skip: Sequence[str | nn.Module] | None = None,
         layers: Mapping[str, Any] | None = None, data: Any = None, example: Any = None, seed: int = 0,
         spec: PruningSpec | None = None) -> Plan:
    """Say exactly what to remove, without touching the model.

    Args:
        model: any module.
        sparsity: the fraction removed, in [0, 1). Left out where it follows: from N:M, or from a budget's amount.
        granularity, criterion, scope, skip, layers, seed: as in :func:`secateur.prune`.
        data: for criteria and scopes that look at activations or gradients, as in :func:`secateur.prune`.
        example: one input, a tuple of inputs or a dict of them; needed to cut neurons unless ``data`` is given.
        spec: all but model, sparsity, data and example as one value, in place of them.

    Warns:
        OutputLayerWarning: it is not known which layer makes the outputs, so that it is cut, too.

    Raises:
        SecateurError: an unknown name, a sparsity outside [0, 1), NaN in weights, a missing example, missing data.

    >>> net = nn.Sequential(nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False))
    >>> print(plan(net, 0.5))
    weight pruning by magnitude, scope layer: 6 of 12 removed, sparsity 0.5000 (asked 0.5)
      0.weight: 6 of 12 (0.5000)
    """
    check_module("plan", model)
    chosen = spec_from(spec, "plan", granularity=granularity, criterion=criterion, scope=scope, skip=skip,
                       layers=layers, seed=seed)
    check_no_recovery("plan", chosen, "which a plan does not carry out")
    return make_plan(model, sparsity, chosen, data, example)


def make_plan(model: nn.Module, sparsity: float | None, spec: PruningSpec, data: Any = None,
              example: Any = None) -> Plan:
    """As :func:`plan`, for callers that have a spec and carry its recovery out themselves."""
    with evaluating(model):
        return Selection(model, spec, samples=calibration(data), example=example).plan(sparsity)
