"""Who decides what goes: a criterion that was asked for is heeded or refused; what is frozen stays."""

import copy

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.data.calibration import calibration
from secateur.experiment.config import StudyConfig
from secateur.experiment.grid import load_grid
from secateur.experiment.single.config import CutConfig
from secateur.recovery.methods.base import RecoveryContext
from secateur.recovery.methods.finetune import Finetune
from secateur.recovery.methods.gradual import Gradual
from secateur.recovery.methods.refit import distance
from secateur.recovery.pipeline import recover

X = torch.randn(300, 12, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0).long() + 2 * (X[:, 1] > 0).long()
TINY = {"model": "support:tiny", "data": "support:blobs", "seeds": 1, "epochs": 1, "latency_batches": ()}


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 10), nn.ReLU(), nn.Linear(10, 4))


def smallest(weight, signals):
    return -weight.abs()


@pytest.mark.parametrize("criterion", ["random", "wanda", "magnitude", smallest])
def test_the_default_recovery_keeps_what_a_criterion_chose(criterion):
    plan = sc.plan(mlp(), 0.6, criterion=criterion, data=X, skip=())
    found = sc.prune(mlp(), 0.6, criterion=criterion, data=X, skip=())
    for cut in plan.cuts:
        weight = found.get_parameter(cut.name)
        assert not weight[~cut.keep].any()
    assert not torch.equal(found[2].weight, sc.apply(mlp(), plan)[2].weight)


@pytest.mark.parametrize("recovery", ["rechoose", "sparsegpt", "gradual", "best", "best-finetune",
                                      ["none", "rechoose"], Gradual(epochs=1)])
def test_a_recovery_that_chooses_itself_is_refused_beside_a_criterion(recovery):
    with pytest.raises(sc.SecateurError, match="chooses itself which weights to remove, so .* 'smallest' "
                                               ".*reconstruct"):
        sc.prune(mlp(), 0.6, criterion=smallest, data=(X, Y), recovery=recovery, skip=())


def test_what_keeps_the_choice_is_not_refused():
    net = mlp()
    sc.prune(net, 0.6, criterion="magnitude", data=X, recovery="rechoose", skip=())
    tuned = sc.prune(net, 0.6, criterion="random", data=(X, Y), recovery=Finetune(epochs=1), skip=())
    drawn = sc.plan(net, 0.6, criterion="random", data=(X, Y), skip=()).cuts[0]
    assert not tuned.get_parameter(drawn.name)[~drawn.keep].any()
    sc.prune(net, 0.5, granularity="neuron", criterion="l2", data=X, recovery="best", skip=["4"])
    drawn = sc.plan(net, 0.5, granularity="2x2", criterion="random", data=X, skip=()).cuts[0]
    blocks = sc.prune(net, 0.5, granularity="2x2", criterion="random", data=X, skip=())
    assert not blocks.get_parameter(drawn.name)[~drawn.keep].any()
    with pytest.raises(sc.SecateurError, match="best chooses itself which weights"):
        sc.prune(net, 0.5, granularity="2x2", criterion="random", data=X, recovery="best", skip=())


def test_a_study_does_not_cross_what_would_not_be_heeded():
    grid = load_grid(StudyConfig(**TINY, criterion=("magnitude", "wanda", "energy"), recovery=("none", "best")))
    pairs = {(p.granularity, p.criterion, p.recovery) for p in grid.points()}
    assert ("weight", "wanda", "best") not in pairs
    assert {("weight", "wanda", "none"), ("weight", "magnitude", "best"), ("neuron", "energy", "best")} <= pairs


@pytest.mark.parametrize(("given", "message"), [
    ({"criterion": ("wanda",), "recovery": ("rechoose",), "granularity": ("weight",)}, "no point for .* reconstruct"),
    ({"recovery": ("rewind",)}, "recovery rewind needs the earlier weights"),
    ({"criterion": ("bn-scale",), "granularity": ("neuron",)}, "has no batch norm with a scale factor")])
def test_a_study_of_nothing_is_refused_at_the_start(given, message, tmp_path):
    with pytest.raises(sc.SecateurError, match=message):
        sc.study(config=StudyConfig(**TINY | given), out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_the_command_decides_and_refuses_before_it_trains(tmp_path, monkeypatch):
    from secateur.experiment import task
    from secateur.experiment.single import prune as room

    monkeypatch.setattr(task, "train", lambda *_: pytest.fail("it was trained"))
    base = {"model": "support:tiny", "data": "support:blobs", "sparsity": 0.5, "out": str(tmp_path / "x")}
    assert CutConfig(**base).recoveries == ("best",)
    assert CutConfig(**base, criterion="wanda").recoveries == ("reconstruct", "distil")
    assert CutConfig(**base, granularity="neuron", criterion="l2").recoveries == ("best",)
    for given, message in (({"criterion": "wanda", "recovery": ("best",)}, "would have no effect"),
                           ({"recovery": ("rewind",)}, "recovery rewind needs the earlier weights"),
                           ({"scope": "budget", "budget": '{"flops": 5}'}, r"sparsity 0\.5 and budget")):
        with pytest.raises(sc.SecateurError, match=message):
            room.cut_network(CutConfig(**base | given))


def test_a_name_is_written_as_it_is_asked_for():
    with pytest.raises(sc.SecateurError, match="recovery best-finetune needs labelled inputs"):
        sc.prune(mlp(), 0.5, recovery="best-finetune", skip=())


@pytest.mark.parametrize("recovery", ["best", "reconstruct", "rechoose", "sparsegpt"])
def test_frozen_layers_are_cut_but_not_rewritten(recovery):
    net = mlp()
    net[2].requires_grad_(False)
    found = sc.prune(net, 0.6, data=X, recovery=recovery, skip=())
    plain = sc.prune(net, 0.6, skip=())
    assert torch.equal(found[2].weight, plain[2].weight)
    assert torch.equal(found[2].bias, net[2].bias)
    assert not torch.equal(found[0].weight, plain[0].weight)
    with pytest.raises(sc.SecateurError, match="all 3 linear and convolutional layers are frozen"):
        sc.prune(mlp().requires_grad_(False), 0.6, data=X, recovery=recovery, skip=())


@pytest.mark.parametrize(("count", "sparsity"), [(256, 0.8), (1, 0.5), (20, 0.9)])
def test_the_best_is_never_further_from_the_original_than_the_cut(count, sparsity):
    for seed in range(4):
        torch.manual_seed(seed)
        net, x = nn.Linear(16, 4), torch.randn(count, 16)
        plan = sc.plan(net, sparsity, skip=())
        plain = sc.apply(net, plan)
        best = recover(net, copy.deepcopy(plain), plan, "best", calibration(x)).network
        context = RecoveryContext(net, plain, plan, calibration(x))
        assert distance(best, context) <= distance(plain, context)
