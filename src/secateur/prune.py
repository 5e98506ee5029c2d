"""The straight line as public functions: model, scores, plan, pruned model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torch import nn

from secateur.apply import applied, told
from secateur.asked import default_criterion
from secateur.calibration import Loss, calibration
from secateur.cautions import REFIT, few
from secateur.errors import FewSamplesWarning
from secateur.graph.check import check_module
from secateur.graph.state import evaluating, untouched
from secateur.layerwise import Settings
from secateur.ranking import Chosen, Selection
from secateur.recover import Choice, check_heard, check_recoveries, default_recovery, kinds_of, recover, recoveries
from secateur.types import Plan


def plan(model: nn.Module, sparsity: float | None = None, granularity: str = "weight", criterion: Chosen = None,
         scope: str = "layer", skip: Sequence[str] = (), example: Any = None, seed: int = 0, round_to: int = 1,
         pooling: str = "mean", data: Any = None, loss: Loss | None = None, layers: Settings | None = None,
         least: float = 0.0, most: float = 1.0, budget: Any = None) -> Plan:
    """Say exactly what to remove, without touching the model.

    Args:
        model: any module; for ``weight`` its linear and convolutional weights are the items.
        sparsity: the fraction removed, in [0, 1). Left out where it follows: from N:M, or from ``budget``.
        granularity: ``weight``, ``neuron``, blocks of outputs x inputs such as ``4x1``, or N:M such as ``2:4``.
        criterion: what an item is worth: a name, ``pkg.module:name``, a :class:`Criterion`, or a function of
            weight and signals; by default ``magnitude`` for weights, for neurons ``elimination`` where ``data`` is
            given and ``l2`` where it is not.
        scope: which items compete, or how much each layer loses: ``layer``, ``global``, ``erk``, ``lamp``,
            ``owl``, ``sensitivity`` or ``budget``.
        skip: names of modules whose weights or units all stay, exact or as regular expressions.
        example: one input, or a tuple of them; needed to cut neurons, unless ``data`` is given.
        seed: for a criterion that draws at random.
        round_to: neurons and channels left are rounded up to a multiple of this (8 or 16 suit many machines).
        pooling: ``mean``, ``sum`` or ``max`` of a unit's scores where several tensors produce it, and of the
            scores of a block's weights.
        data: for criteria and scopes that look at activations or gradients: a tensor of inputs, a pair of tensors
            (inputs, labels), or an iterable of batches, read once, as :func:`secateur.calibration.calibration` says.
        loss: of outputs and labels, for criteria with gradients; by default the cross-entropy.
        layers: settings of single layers: from a module's name or a regular expression to a sparsity, or to any
            of ``sparsity``, ``granularity``, ``least``, ``most``, ``skip`` (see :class:`secateur.layerwise.Rule`).
        least, most: the fractions of every layer that go at least and at most.
        budget: for scope ``budget``, what the cut network may cost: ``{"flops": 1e6}``, also ``parameters``,
            ``bytes``, ``ms`` (measured on this machine); the name alone means ``1 - sparsity`` of the original's.

    Raises:
        SecateurError: an unknown name, a sparsity outside [0, 1), NaN in weights, a missing example, missing data.

    >>> net = nn.Sequential(nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False))
    >>> print(plan(net, 0.5, skip=["2"]))
    weight pruning by magnitude, scope layer: 6 of 12 removed, sparsity 0.5000 (asked 0.5)
      0.weight: 6 of 12 (0.5000)
    """
    check_module("plan", model)
    with evaluating(model):
        return Selection(model, granularity, criterion, scope, skip, example, seed, None, round_to, pooling,
                         calibration(data, loss), layers, least, most, budget).plan(sparsity)


def prune(model: nn.Module, sparsity: float | None = None, granularity: str = "weight", criterion: Chosen = None,
          scope: str = "layer", skip: Sequence[str] = (), example: Any = None, seed: int = 0, round_to: int = 1,
          pooling: str = "mean", data: Any = None, loss: Loss | None = None,
          recovery: Choice | None = None, layers: Settings | None = None, least: float = 0.0, most: float = 1.0,
          budget: Any = None) -> nn.Module:
    """Plan, apply and recover in one call; the arguments are those of :func:`plan`. The model stays as it is.

    Args:
        recovery: what wins accuracy back after the cut: a name, ``pkg.module:Class``, a
            :class:`~secateur.recovery.base.Recovery`, or a sequence of them, done in its order. By default
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
        small = applied(model, made)
        told(model, small)
        seen: dict[str, tuple[int, int]] = {}
        network = recover(model, small, made, items, samples, seed, seen)
    for note in few(seen, REFIT):
        warnings.warn(note, FewSamplesWarning, stacklevel=2)
    return network
