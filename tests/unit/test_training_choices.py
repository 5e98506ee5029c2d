"""What a pruner or a round of iterative pruning chooses: every scope, every criterion, every live sparsity."""

from itertools import pairwise

import pytest
import torch
from support import blobs, tiny
from torch import nn
from torch.nn import functional as F

import secateur as sc
from secateur.core.errors import SecateurError
from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals
from secateur.training import Live, rounds
from secateur.training.keep_pruned import KeepPruned
from secateur.training.schedules import Constant, Linear, OneShot

X, Y, _, _ = blobs()


def start():
    torch.manual_seed(0)
    return tiny()


def learn(model, pruner):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(10):
        optimizer.zero_grad()
        F.cross_entropy(model(X), Y).backward()
        optimizer.step()
        pruner.step()


def zeros(net):
    return sum(int((m.weight == 0).sum()) for m in net.modules() if isinstance(m, nn.Linear))


@pytest.mark.parametrize("scope", ["layer", "global", "lamp", "erk", "owl", "sensitivity"])
def test_every_scope_reaches_the_count_while_it_trains(scope):
    net = start()
    pruner = sc.Pruner(net, Linear(0.75, end=9, every=3), scope=scope, data=X, skip=())
    learn(net, pruner)
    assert zeros(net) == pruner.plan.removed == 240
    assert all(threshold >= 0 for threshold in pruner.thresholds.values())


def test_a_scope_that_says_itself_how_much_goes_is_refused_with_what_does_it():
    with pytest.raises(SecateurError, match=r"scope 'budget'.* give the pruner the plan .*sc\.plan"):
        sc.Pruner(start(), 0.5, scope="budget", data=X, skip=())


class Flat(Criterion):
    """Every weight is worth nothing."""

    granularities = frozenset({"weight"})

    def score(self, weight, signals):
        return torch.zeros_like(weight)


def test_what_is_zero_is_worth_less_than_what_is_worth_nothing():
    scores = KeepPruned(Flat()).score(torch.tensor([2.0, 0.0, -1.0]), Signals())
    assert scores[1] == 0
    assert (scores[[0, 2]] > 0).all()


@pytest.mark.parametrize("rewind", ["weights", "rate"])
@pytest.mark.parametrize("criterion", ["movement", "grasp", "random", "snip"])
def test_rounds_never_get_any_back_whatever_the_criterion(criterion, rewind):
    done = list(rounds(start(), learn, 0.8, 3, rewind, criterion=criterion, data=(X, Y), skip=()))
    for early, late in pairwise(done):
        for a, b in zip(early.plan.cuts, late.plan.cuts, strict=True):
            assert not (b.keep & ~a.keep).any()
    assert [zeros(r.model) for r in done] == [r.plan.removed for r in done]
    assert done[-1].plan.criterion == criterion


def test_rounds_cut_weights_alone():
    with pytest.raises(SecateurError, match="granularity 'neuron'.*allowed: weight"):
        next(rounds(start(), learn, 0.5, 1, granularity="neuron", example=X[:1]))


@pytest.mark.parametrize("every", [0, -1, 2.5, "5", True])
def test_a_live_sparsity_is_looked_at_every_whole_number_of_steps(every):
    with pytest.raises(SecateurError, match="every .*: allowed are whole numbers from 1"):
        Live(torch.tensor(0.5), every=every)


@pytest.mark.parametrize("given", ["x", None, torch.tensor([0.5, 0.5])])
def test_a_function_that_gives_no_number_is_named(given):
    with pytest.raises(SecateurError, match="the function of the step gave .* at step 0: allowed is a fraction"):
        sc.Pruner(start(), lambda step: given, skip=())


@pytest.mark.parametrize("schedule", [0.5, OneShot(0.5, end=20), Constant(0.5, end=5), "plan"])
def test_a_regrowth_that_would_never_exchange_anything_is_refused(schedule):
    net = start()
    given = sc.plan(net, 0.5, skip=()) if schedule == "plan" else schedule
    with pytest.raises(SecateurError, match=r"regrow .* has no effect: .*Constant\(0\.5, end=1000\)"):
        sc.Pruner(net, given, regrow="set", skip=())


@pytest.mark.parametrize("schedule", [Constant(0.5, end=20, every=5), Linear(0.5, end=20, every=5),
                                      Live(torch.tensor(0.5), every=5)])
def test_one_that_does_is_not(schedule):
    net = start()
    pruner = sc.Pruner(net, schedule, regrow="set", skip=())
    learn(net, pruner)
    assert (pruner.masks["1.weight"] != sc.plan(net, pruner.reached, skip=()).cuts[0].keep).any()


@pytest.mark.parametrize(("settings", "message"), [
    ({"criterion": "snip"}, "criterion 'snip' needs"), ({"criterion": "energy"}, "criterion 'energy' scores neuron"),
    ({"criterion": "energy", "granularity": "neuron"}, "criterion 'energy' needs"), ({"skip": "1"}, "skip: got '1'"),
    ({"layers": ["1"]}, r"layers: got \['1'\]"), ({"optimizer": "sgd"}, "optimizer 'sgd': allowed is a torch.optim"),
    ({"model": 5}, "Pruner: got int as model")])
def test_what_was_asked_is_named_as_it_was_asked(settings, message):
    with pytest.raises(SecateurError, match=message):
        sc.Pruner(**{"model": start(), "schedule": 0.5, "skip": ()} | settings)
