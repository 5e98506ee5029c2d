"""What exactly goes, said without touching the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from secateur.core.module_state import evaluating
from secateur.core.types import Plan
from secateur.data.calibration import Loss, calibration
from secateur.graph.check import check_module
from secateur.pruning.layer_rules import Settings
from secateur.pruning.selection import Chosen, Selection


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
            (inputs, labels), or an iterable of batches, read once, see :func:`secateur.data.calibration.calibration`.
        loss: of outputs and labels, for criteria with gradients; by default the cross-entropy.
        layers: settings of single layers: from a module's name or a regular expression to a sparsity, or to any
            of ``sparsity``, ``granularity``, ``least``, ``most``, ``skip``
            (see :class:`secateur.pruning.layer_rules.Rule`).
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
