"""Gradual: exactly as many as the plan says, the original as it was, the same each time, better than training on."""

import copy

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.core.errors import UnsupportedError
from secateur.core.types import Cut
from secateur.data import resolve
from secateur.recovery.methods.best_finetune import BestFinetune
from secateur.recovery.methods.finetune import Finetune
from secateur.recovery.methods.gradual import Gradual, rule_for
from secateur.training.loop import train

X = torch.randn(300, 12, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0).long() + 2 * (X[:, 1] > 0).long()
QUICK = Gradual(epochs=2, batch_size=50, lr=5e-3, every=1)


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 10), nn.ReLU(), nn.Linear(10, 4))


def gone(net):
    return [int((net[i].weight == 0).sum()) for i in (0, 2, 4)]


def removed(plan):
    return [cut.removed_entries for cut in plan.cuts]


@pytest.mark.parametrize("settings", [
    {"sparsity": 0.77}, {"sparsity": 0.9, "scope": "lamp"},
    {"sparsity": 0.75, "granularity": "2x2", "layers": {"0": {"skip": True}}},
    {"sparsity": 0.5, "layers": {"0": 0.9, "2": {"granularity": "2x4", "sparsity": 0.5}}}, {"sparsity": 0.0}])
def test_every_layer_loses_as_many_as_the_plan_says(settings):
    net, plan = mlp(), sc.plan(mlp(), skip=(), **settings)
    found = sc.prune(net, data=(X, Y), recovery=QUICK, skip=(), **settings)
    wanted = dict(zip((cut.name for cut in plan.cuts), removed(plan), strict=True))
    assert gone(found) == [wanted.get(f"{i}.weight", 0) for i in (0, 2, 4)]
    assert not torch.equal(found[0].weight[found[0].weight != 0][:4], net[0].weight[found[0].weight != 0][:4])


def test_blocks_go_whole():
    found = sc.prune(mlp(), 0.75, granularity="2x2", data=(X, Y), recovery=QUICK, skip=())
    blocks = (found[0].weight != 0).view(8, 2, 6, 2).sum((1, 3))
    assert set(blocks.flatten().tolist()) == {0, 4}


def test_under_a_global_scope_all_layers_compete_while_they_train():
    plan = sc.plan(mlp(), 0.8, scope="global", skip=())
    found = sc.prune(mlp(), 0.8, scope="global", data=(X, Y), recovery=QUICK, skip=())
    assert sum(gone(found)) == plan.removed == round(0.8 * 392)


def test_the_masks_of_n_m_are_held():
    plan = sc.plan(mlp(), granularity="2:4", skip=["4"])
    found = sc.prune(mlp(), granularity="2:4", skip=["4"], data=(X, Y), recovery=QUICK)
    assert torch.equal(found[0].weight != 0, plan.cuts[0].keep)
    assert gone(found)[2] == 0


def test_the_original_stays_and_a_seed_decides():
    net = mlp()
    before = copy.deepcopy(net.state_dict())
    first, again, other = (sc.prune(net, 0.8, data=(X, Y), recovery=QUICK, seed=s, skip=()) for s in (3, 3, 4))
    assert all(torch.equal(before[n], t) for n, t in net.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first[0].weight, other[0].weight)


def test_it_beats_training_on_after_one_cut():
    digits = resolve("digits")
    torch.manual_seed(3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    train(net, digits, 3, epochs=15)
    how = {"epochs": 20, "batch_size": 32, "lr": 5e-3, "distil": 0.5}
    wrong = []
    for recovery in (Finetune(**how), BestFinetune(gradual=Gradual(l1=1e-4, every=10, **how))):
        sparse = sc.prune(net, 0.97, scope="global", data=(digits.train_x, digits.train_y), recovery=recovery, skip=())
        wrong.append(int((sparse(digits.test_x).argmax(1) != digits.test_y).sum()))
    assert wrong[1] < 0.75 * wrong[0]


def test_distilling_alone_needs_no_labels():
    net = mlp()
    found = sc.prune(net, 0.5, data=X, recovery=Gradual(epochs=20, batch_size=50, lr=5e-3, distil=1.0, every=1),
                     skip=())
    taught, plain = ((other(X).softmax(1) - net(X).softmax(1)).square().mean() for other in (found, sc.prune(net, 0.5,
                                                                                                             skip=())))
    assert taught < 0.5 * plain
    with pytest.raises(sc.SecateurError, match="recovery gradual needs labelled inputs"):
        sc.prune(net, 0.5, data=X, recovery="gradual", skip=())


def test_what_it_cannot_do_it_refuses():
    with pytest.raises(UnsupportedError, match="recovery gradual supports weights, blocks and N:M"):
        sc.prune(mlp(), 0.5, granularity="neuron", data=(X, Y), recovery="gradual")
    with pytest.raises(sc.SecateurError, match=r"gradual end 1: allowed are .* 0 <= begin <= end < 1"):
        Gradual(end=1)
    several = [Cut(name, torch.arange(4) < left) for name, left in (("a.one", 2), ("a.two", 3))]
    with pytest.raises(UnsupportedError, match=r"got 2 of 4 in 'a\.one', 1 of 4 in 'a\.two'"):
        rule_for(several, sc.plan(mlp(), 0.5, skip=()))


@pytest.mark.parametrize("settings", [
    {"layers": {"4": {"max_sparsity": 0.3}}}, {"layers": {"4": 0.2}}, {"scope": sc.Global(max_sparsity=0.85)},
    {"scope": sc.Global(min_sparsity=0.7)}])
def test_bounds_hold_under_a_global_scope(settings):
    settings = {"scope": "global", "skip": (), **settings}
    plan = sc.plan(mlp(), 0.8, **settings)
    found = sc.prune(mlp(), 0.8, data=(X, Y), recovery=QUICK, **settings)
    assert gone(found) == removed(plan)


@pytest.mark.parametrize("recovery", [QUICK, BestFinetune(gradual=QUICK)])
def test_a_layer_alone_is_a_network(recovery):
    torch.manual_seed(0)
    found = sc.prune(nn.Linear(12, 4), 0.6, data=(X, Y), recovery=recovery, skip=())
    assert int((found.weight == 0).sum()) == round(0.6 * 48)
