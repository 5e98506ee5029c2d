"""Iterative magnitude pruning: train, cut, rewind, and again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from secateur.core.bounds import check_settings, whole
from secateur.core.errors import SecateurError, unknown
from secateur.core.types import Plan
from secateur.pruning.granularity import resolve
from secateur.pruning.granularity.weight import Weight
from secateur.pruning.plan import plan
from secateur.training.keep_pruned import keep_pruned
from secateur.training.pruner import Pruner
from secateur.training.schedules import Exponential

_REWINDS = ("weights", "rate", "none")
_Fit = Callable[[nn.Module, Pruner], Any]


@dataclass(frozen=True, eq=False)
class Round:
    """What one round left: the trained and pruned network, its plan, and what the training gave back."""

    number: int
    model: nn.Module
    plan: Plan
    result: Any


def rounds(model: nn.Module, fit: _Fit, target: float, count: int, rewind: str = "weights",
           early: nn.Module | None = None, **choices: Any) -> Iterator[Round]:
    """Train, cut what is smallest, rewind, and again, so that ``target`` is reached in ``count`` cuts.

    Every cut removes the same fraction of what is left. Round 0 is the dense network.

    Args:
        model: the network at its start; it is not changed.
        fit: trains a network in place for one round, its whole learning-rate schedule; it calls
            ``pruner.step()`` after every step of the optimizer.
        target: the sparsity after the last cut, in [0, 1).
        count: how many cuts.
        rewind: ``weights`` puts the weights that are left back to those of ``early``, which is the lottery ticket of
            Frankle and Carbin (ICLR 2019), with its later rewinding to an early step (2020); ``rate`` keeps
            the weights and rewinds the learning rate only, which ``fit`` does by starting its schedule anew
            (Renda, Frankle and Carbin, ICLR 2020); ``none`` is ``rate`` for a ``fit`` that goes on at its last rate.
        early: for ``weights``, the network to rewind to; by default ``model`` as it was passed in.
        choices: as in ``sc.plan``: criterion, scope, skip and so on; ``weight`` is what is cut. What went in one round
            is worth less than all that lives in the next, whatever the criterion, and so stays cut.

    Raises:
        SecateurError: an unknown rewind, a count below 1, another granularity, or what ``sc.plan`` refuses.

    >>> net = nn.Linear(10, 10)
    >>> [r.plan.removed for r in rounds(net, lambda model, pruner: pruner.step(), 0.75, 2)]
    [0, 50, 75]
    """
    if rewind not in _REWINDS:
        raise unknown("rewind", rewind, _REWINDS)
    check_settings("", {"count": count}, count=whole(1))
    if (item := resolve(choices.pop("granularity", "weight"))) != Weight():
        raise SecateurError(f"rounds with granularity '{item.name}': allowed: weight; for others use a Pruner")
    schedule, start = Exponential(target, end=count), early if early is not None else model
    criterion = keep_pruned(choices.pop("criterion", None), Weight())
    network = copy.deepcopy(model)
    for number in range(count + 1):
        made = plan(network, schedule.at(number), criterion=criterion, **choices)
        if number and rewind == "weights":
            network = copy.deepcopy(start)
        pruner = Pruner(network, made)
        result = fit(network, pruner)
        network = pruner.finish()
        yield Round(number, copy.deepcopy(network), made, result)
