"""The straight line as public functions: model, scores, plan, pruned model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from secateur import files
from secateur.core.errors import FewSamplesWarning, SecateurError, UnsupportedError
from secateur.core.module_state import untouched
from secateur.core.modules import Plain, same_modes
from secateur.data.calibration import Calibration, Loss, calibration
from secateur.graph.check import check_module
from secateur.measure.agreement import agreement
from secateur.measure.comparison import Comparison, Figures
from secateur.measure.flops import flops_of
from secateur.measure.size import has_zeroed_weights, size
from secateur.measure.speed import Speed, speeds
from secateur.pruning.apply import applied, told
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
from secateur.runtime.base import Compiled
from secateur.runtime.timing import Timing, time_cut


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
        small = applied(model, made)
        told(model, small)
        seen: dict[str, tuple[int, int]] = {}
        network = recover(model, small, made, items, samples, seed, seen)
    for note in few(seen, REFIT):
        warnings.warn(note, FewSamplesWarning, stacklevel=2)
    return network


def compare(model: nn.Module, small: nn.Module, data: Any, *, batches: Sequence[int] = (1, 64),
            seconds: float = 1.0) -> Comparison:
    """A network and what a cut made of it side by side: what the cut costs, and what it buys on this machine.

    Neither network is changed. Both are run in evaluation mode; the times are those of the CPU, in interleaved rounds.
    Where weights of ``small`` are zero it is timed compiled, as :func:`secateur.compile` gives it.

    Args:
        model: the network before the cut.
        small: the network after it, not compiled.
        data: what both are run on: inputs ``(samples, ...)`` as a tensor or an array, a pair (inputs, labels), or an
            iterable of batches. With labels that are classes the accuracy is measured too.
        batches: the batch sizes that are timed; none where it is empty.
        seconds: what timing takes at each batch size.

    Returns:
        A frozen value; ``print`` shows it as a table: accuracy, equal classes, cosine and relative error of the
        outputs, parameters, bytes in a file, FLOPs of one sample, and milliseconds.

    Raises:
        SecateurError: a network that is none or is compiled, no data, a batch size below 1, or a network
            that does not run on the data.

    >>> net = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))
    >>> found = compare(net, prune(net, 0.5, skip=["2"]), torch.rand(100, 8), batches=())
    >>> found.before.nonzeros, found.after.nonzeros, found.agreement.samples
    (82, 58, 100)
    >>> print(compare(net, net, torch.rand(100, 8), batches=()))
                               before    after
    outputs, same class          100%     100%  100 samples
    outputs, cosine                 1   1.0000  100 samples
    outputs, relative error         0   0.0000  100 samples
    parameters                     82       82         100%
    not zero                       82       82         100%
    bytes, saved              1... kB  1... kB         100%
    FLOPs, zeros not counted      144      144         100%
    """
    for one in (model, small):
        check_module("compare", one)
        if isinstance(one, Compiled):
            raise SecateurError("compare: got a compiled network; compare the network that it was compiled from, which "
                                "is compiled here to be timed")
    samples = calibration(data)
    if samples is None:
        raise SecateurError("compare: data is None; allowed is inputs, a pair (inputs, labels), or batches of them")
    if any(type(batch) is not int or batch < 1 for batch in batches):
        raise SecateurError(f"compare: batches {list(batches)}; allowed are whole numbers from 1 on, or none")
    near = agreement(model, small, samples)
    was, now = near.accuracy or (None, None)
    latency, notes = _latency(model, small, samples, Timing(tuple(batches), seconds, 0, ""))
    return Comparison(_figures(model, was, samples), _figures(small, now, samples), near, latency, notes)


def _figures(network: nn.Module, accuracy: float | None, samples: Calibration) -> Figures:
    found = size(network)
    return Figures(accuracy, found["parameters"], found["nonzeros"], files.file_bytes(network),
                   flops_of(network, samples.example(), zeros=True))


def _latency(model: nn.Module, small: nn.Module, samples: Calibration,
             timing: Timing) -> tuple[dict[str, tuple[float, Speed]], tuple[str, ...]]:
    """For each batch size the original's seconds and the cut network's speed; why it could not be compiled."""
    first = next(iter(samples)).to("cpu")

    def inputs(count: int) -> tuple[Any, ...]:
        return tuple(v[torch.arange(count) % len(v)] if isinstance(v, Tensor) and v.ndim else v for v in first.inputs)

    if not timing.batches:
        return {}, ()
    notes: tuple[str, ...] = ()
    with same_modes(model), same_modes(small):
        old, new = (Plain(one, first.names).eval() for one in (model, small))
        try:
            found = time_cut(old, new, has_zeroed_weights(small), inputs, timing, type(small).__name__)
        except UnsupportedError as error:
            notes = (f"the zeros are timed like other numbers, as the network cannot be compiled: {error}",)
            found = time_cut(old, new, False, inputs, timing, type(small).__name__)
    return speeds(found["latency"]), notes
