"""The verbs: plan, apply and recover in one call."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from secateur.core.errors import FewSamplesWarning
from secateur.core.module_state import untouched
from secateur.data.calibration import calibration
from secateur.graph.check import check_module
from secateur.pruning.apply import applied, told
from secateur.pruning.arguments import answer_wrong_names
from secateur.pruning.checks import REFIT, underdetermined_layers
from secateur.pruning.criteria.base import CriterionChoice
from secateur.pruning.granularity import GranularityChoice
from secateur.pruning.plan import make_plan
from secateur.pruning.scopes import ScopeChoice
from secateur.pruning.spec import PruningSpec, default_criterion, spec_from
from secateur.recovery.pipeline import (
    RecoveryChoice,
    check_criterion_is_used,
    check_recoveries,
    default_recovery,
    kinds_of,
    recover,
    recoveries,
)


@answer_wrong_names
def prune(model: nn.Module, sparsity: float | None = None, *, granularity: GranularityChoice = "weight",
          criterion: CriterionChoice = None, scope: ScopeChoice = "layer", recovery: RecoveryChoice | None = None,
          skip: Sequence[str | nn.Module] | None = None, layers: Mapping[str, Any] | None = None, data: Any = None,
          example: Any = None, seed: int = 0, spec: PruningSpec | None = None) -> nn.Module:
    """Cut a network and win accuracy back; the model that is passed in stays as it is.

    ``prune(model, 0.9, data=inputs)`` sets 90% of the weights to zero and fits the rest to the original's outputs.
    ``prune(model, 0.5, granularity="neuron", data=inputs)`` removes half of the neurons: a smaller network.

    Args:
        model: any module.
        sparsity: the fraction removed, in [0, 1). Left out where it follows: from N:M, or from a budget's amount.
        granularity: what one item is: ``"weight"``, ``"neuron"``, blocks such as ``"4x1"`` (outputs x inputs), N:M such
            as ``"2:4"``; or an item with its settings, ``Neuron(round_to=8)``, ``Block(1, 4, pooling="max")``.
        criterion: what an item is worth: a name, ``pkg.module:name``, a criterion, or a function of weight and signals.
            By default ``magnitude`` for weights; for neurons ``elimination`` with data, ``l2`` without.
        scope: which items compete, or how much each layer loses: ``"layer"``, ``"global"``, ``"erk"``, ``"lamp"``,
            ``"owl"``, ``"sensitivity"``, ``"budget"``; or an item, ``Global(max_sparsity=0.95)``, ``Budget(ms=2.5)``.
        recovery: what wins accuracy back: a name, an item such as ``Finetune(epochs=3)``, or a list, done in its order.
            By default ``"best"`` with data, which needs no labels (``"reconstruct"``, which keeps what was chosen,
            where you give the criterion of single weights), and ``"none"`` without.
        skip: what stays whole beside the output layer: names, regular expressions or modules; ``()`` cuts all.
        layers: from a module's name or a regular expression to its sparsity, or to a mapping with any of ``sparsity``,
            ``granularity``, ``min_sparsity``, ``max_sparsity``, ``skip``.
        data: inputs as a tensor or NumPy array, a pair (inputs, labels), :class:`Samples`, or an iterable of batches.
        example: one input, a tuple of inputs or a dict of them; needed to cut neurons unless ``data`` is given.
        seed: for what draws at random.
        spec: all but model, sparsity, data and example as one :class:`PruningSpec`, in place of them.

    Returns:
        A new network: zeros in place of the weights, or without the neurons.

    Warns:
        OutputLayerWarning: it is not known which layer makes the outputs, so that it is cut, too.
        FewSamplesWarning: a layer was refitted to fewer rows of data than it has inputs.
        CutGraphWarning: as :func:`secateur.apply`.

    Raises:
        SecateurError: a value that is not allowed; the message says what is.

    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> int((prune(net, 0.75)[0].weight == 0).sum())
    9
    """
    check_module("prune", model)
    chosen = spec_from(spec, "prune", granularity=granularity, criterion=criterion, scope=scope, recovery=recovery,
                       skip=skip, layers=layers, seed=seed)
    samples = calibration(data)
    kinds = kinds_of(chosen.granularity_item, chosen.layers)
    usual = default_recovery(chosen.criterion is not None, kinds) if samples else "none"
    items = recoveries(chosen.recovery if chosen.recovery is not None else usual)
    check_recoveries(items, samples)
    check_criterion_is_used(chosen.criterion, items, kinds,
                            default_criterion(chosen.granularity_item, samples is not None))
    made = make_plan(model, sparsity, chosen, samples, example)
    with untouched(model):
        small = applied(model, made)
        told(model, small)
        result = recover(model, small, made, items, samples, chosen.seed)
    for note in underdetermined_layers(result.rows, REFIT):
        warnings.warn(note, FewSamplesWarning, stacklevel=3)
    return result.network
