"""The straight line as public functions: model, scores, plan, pruned model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torch import nn

from secateur.core.errors import FewSamplesWarning
from secateur.core.module_state import untouched
from secateur.data.calibration import Loss, calibration
from secateur.graph.check import check_module
from secateur.pruning.apply import carry_out, warn_of_graph
from secateur.pruning.checks import REFIT, few
from secateur.pruning.layer_rules import Settings
from secateur.pruning.plan import plan
from secateur.pruning.selection import Chosen
from secateur.pruning.spec import default_criterion
from secateur.recovery.pipeline import (
    Choice,
    check_heard,
    check_recoveries,
    default_recovery,
    kinds_of,
    recover,
    recoveries,
)


def prune(model: nn.Module, sparsity: float | None = None, granularity: str = "weight", criterion: Chosen = None,
          scope: str = "layer", skip: Sequence[str] = (), example: Any = None, seed: int = 0, round_to: int = 1,
          pooling: str = "mean", data: Any = None, loss: Loss | None = None,
          recovery: Choice | None = None, layers: Settings | None = None, least: float = 0.0, most: float = 1.0,
          budget: Any = None) -> nn.Module:
    """Plan, apply and recover in one call; the arguments are those of :func:`plan`. The model stays as it is.

    Args:
        recovery: what wins accuracy back after the cut: a name, ``pkg.module:Class``, a
            :class:`~secateur.recovery.methods.base.Recovery`, or a sequence of them, done in its order. By default
            ``best``, which needs no labels, where ``data`` is given, and ``none`` where it is not. Where single
            weights are cut by a ``criterion`` that you give, the default with ``data`` is ``reconstruct``, which
            keeps what the criterion chose; ``best`` chooses itself.

    Warns:
        FewSamplesWarning: a layer was refitted to fewer rows of data than it has inputs.
        CutGraphWarning: as :func:`secateur.apply`.

    Raises:
        SecateurError: as :func:`plan`; a recovery that chooses itself what goes beside a criterion of your own.

    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> int((prune(net, 0.75)[0].weight == 0).sum())
    9
    """
    check_module("prune", model)
    samples = calibration(data, loss)
    kinds = kinds_of(granularity, layers)
    usual = default_recovery(criterion is not None, kinds) if samples else "none"
    items = recoveries(recovery if recovery is not None else usual)
    check_recoveries(items, samples)
    check_heard(criterion, items, kinds, default_criterion(granularity, samples is not None))
    made = plan(model, sparsity, granularity, criterion, scope, skip, example, seed, round_to, pooling, samples, None,
                layers, least, most, budget)
    with untouched(model):
        removal = carry_out(model, made)
        warn_of_graph(model, removal)
        seen: dict[str, tuple[int, int]] = {}
        network = recover(model, removal.network, made, items, samples, seed, seen)
    for note in few(seen, REFIT):
        warnings.warn(note, FewSamplesWarning, stacklevel=2)
    return network
