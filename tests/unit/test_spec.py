"""One value says what is cut how: names stand for items with their defaults, and what contradicts is refused."""

from __future__ import annotations

import inspect
import pydoc
from typing import get_args

import numpy as np
import pytest
import torch
from support import tiny
from torch import nn

import secateur as sc
from secateur.core import registry
from secateur.data.calibration import calibration
from secateur.pruning.criteria.base import CriterionName
from secateur.pruning.granularity import GranularityName, resolve
from secateur.pruning.granularity.base import POOLINGS
from secateur.pruning.scopes import ScopeName, resolve_scope
from secateur.recovery.pipeline import RecoveryName, recoveries

X = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(40) % 4


@pytest.mark.parametrize(("name", "item"), [("weight", sc.Weight()), ("neuron", sc.Neuron()), ("4x1", sc.Block(4, 1)),
                                            ("1x4", sc.Block(1, 4)), ("2:4", sc.NM(2, 4)), ("block", sc.Block())])
def test_a_name_stands_for_the_item_with_its_defaults(name, item):
    assert resolve(name) == item
    assert resolve(item.name) == item
    assert sc.PruningSpec(granularity=name) == sc.PruningSpec(granularity=item)


@pytest.mark.parametrize("name", registry.files("scopes"))
def test_a_scope_s_name_stands_for_it(name):
    assert resolve_scope(name).name == name
    assert sc.PruningSpec(scope=name) == sc.PruningSpec(scope=resolve_scope(name))


def test_the_names_that_an_editor_offers_are_those_of_the_folders():
    assert set(get_args(ScopeName)) == set(registry.files("scopes"))
    assert set(get_args(CriterionName)) == set(registry.files("criteria"))
    assert set(get_args(RecoveryName)) == set(registry.files("recovery"))
    assert set(registry.files("granularity")) <= set(get_args(GranularityName))
    assert all(resolve(name) for name in get_args(GranularityName))


@pytest.mark.parametrize("settings", [
    {"granularity": "4x1", "scope": "global", "layers": {"3": 0.25}}, {"granularity": sc.Block(2, 2, pooling="max")},
    {"criterion": "random", "seed": 3, "skip": ["3"]}, {"scope": sc.Lamp(max_sparsity=0.6), "skip": ()}])
def test_a_spec_is_the_same_as_its_settings(settings):
    net, spec = tiny(), sc.PruningSpec(**settings)
    assert sc.plan(net, 0.5, spec=spec) == sc.plan(net, 0.5, **settings)
    one, other = sc.prune(net, 0.5, spec=spec), sc.prune(net, 0.5, **settings)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    pruner = sc.Pruner(net, 0.5, spec=spec)
    assert pruner.plan == sc.plan(one, 0.5, **settings) or pruner.reached == sc.plan(net, 0.5, **settings).reached


def test_a_spec_carries_its_recovery_to_prune_alone():
    spec = sc.PruningSpec(recovery=sc.Finetune(epochs=1, distil=1.0))
    assert int((sc.prune(tiny(), 0.5, spec=spec, data=X)[1].weight == 0).sum()) == 96
    with pytest.raises(sc.SecateurError, match=r"plan: got recovery Finetune\(.*, which a plan does not carry out"):
        sc.plan(tiny(), 0.5, spec=spec)
    with pytest.raises(sc.SecateurError, match="Pruner: got recovery 'best', but the training recovers here"):
        sc.Pruner(tiny(), 0.5, spec=sc.PruningSpec(recovery="best"))


@pytest.mark.parametrize(("call", "told"), [
    (lambda: sc.plan(tiny(), 0.5, spec=sc.PruningSpec(), scope="global"), "plan: got spec= and scope=; allowed is one"),
    (lambda: sc.prune(tiny(), 0.5, spec="global"), "prune: got str as spec, allowed: a secateur.PruningSpec"),
    (lambda: sc.PruningSpec(granularity="channel"), "unknown granularity 'channel': did you mean 'neuron'?"),
    (lambda: sc.PruningSpec(granularity="filters"), "did you mean 'neuron'?"),
    (lambda: sc.PruningSpec(criterion="l2"), "criterion 'l2' scores neuron, not 'weight'"),
    (lambda: sc.PruningSpec(layers={"a": {"sparsty": 1}}), "did you mean 'sparsity'?"),
    (lambda: sc.PruningSpec(skip="head"), "skip: got 'head', allowed: a list of names of modules or of modules"),
    (lambda: sc.Neuron(round_to=0), "round_to 0: allowed is a positive whole number"),
    (lambda: sc.Block(0, 4), "block 0x4: allowed are sides of 1 or more"),
    (lambda: sc.Block(4, 1, pooling="men"), "did you mean 'mean'?"), (lambda: sc.NM(4, 4), "4:4: allowed is n:m"),
    (lambda: sc.Budget("flop"), "did you mean 'flops'?"),
    (lambda: sc.Budget(flops=1.0, bytes=2.0), "budget of flops and bytes: allowed is one of"),
    (lambda: sc.Budget("ms", flops=3.0), "budget of ms and flops: allowed is one of"),
    (lambda: sc.Global(max_sparsity=1.5), "max_sparsity of every layer is 1.5"),
    (lambda: sc.prune(tiny(), amount=0.5), "unknown argument of prune 'amount': did you mean 'sparsity'?"),
    (lambda: sc.plan(tiny(), 0.5, round_to=8), "plan: unknown argument 'round_to': use granularity=Neuron("),
    (lambda: sc.prune(tiny(), 0.5, neurons=True), "use granularity='neuron'"),
    (lambda: sc.prune(tiny(), 0.5, filter=1), "use granularity='neuron'"),
    (lambda: sc.plan(tiny(), 0.5, recovery="best"), "use secateur.prune(..., recovery=...)"),
    (lambda: sc.prune(tiny(), 0.5, "neuron"), "prune: got 3 positional arguments, allowed are model, sparsity;"),
    (lambda: sc.StudyConfig.of(sc.PruningSpec(), granularity="weight"), "study: got a spec and granularity;"),
    (lambda: sc.compare(tiny(), tiny(), X, batches=64), "compare: batches 64; allowed are whole numbers"),
    (lambda: sc.compare(tiny(), tiny(), X, seconds=-1), "compare: seconds -1; allowed is a number above 0"),
    (lambda: sc.Pruner(tiny(), 0.5, least=0.2), "Pruner: unknown argument 'least': use scope=Layer(min_sparsity"),
    (lambda: sc.sensitivity(tiny(), X, criterium="l1"), "did you mean 'criterion'?")])
def test_a_mistake_is_answered_with_what_is_right(call, told):
    with pytest.raises(sc.SecateurError) as caught:
        call()
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_face_is_what_dir_shows_and_help_fits_a_screen():
    assert dir(sc) == sorted(sc.__all__)
    assert all(hasattr(sc, name) for name in sc.__all__)
    assert len(pydoc.render_doc(sc.prune).splitlines()) <= 60
    kinds = [p.kind for p in inspect.signature(sc.prune).parameters.values()]
    assert kinds[2:] == [inspect.Parameter.KEYWORD_ONLY] * (len(kinds) - 2)


@pytest.mark.parametrize("data", [
    X.numpy(), X.double().numpy(), (X.numpy(), Y.numpy()), [X[:30].numpy(), X[30:].numpy()],
    [(X[:30].numpy(), Y[:30].numpy()), (X[30:].numpy(), Y[30:].numpy())], sc.Samples(X.numpy(), Y.numpy())])
def test_arrays_are_taken_as_tensors_are(data):
    found = torch.cat([batch.inputs[0] for batch in calibration(data)])
    assert torch.equal(found, X)
    assert found.dtype == torch.float32
    net = tiny()
    assert sc.plan(net, 0.5, criterion="wanda", data=data) == sc.plan(net, 0.5, criterion="wanda", data=X)


def test_arrays_by_argument_and_whole_numbers_keep_their_type():
    found = next(iter(calibration({"ids": np.ones((3, 2), np.int64), "mask": np.ones((3, 2), bool)})))
    assert [v.dtype for v in found.inputs] == [torch.int64, torch.bool]


def test_the_loss_travels_with_the_data():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), torch.rand(16, 3)
    target = torch.rand(16, 1)
    plan = sc.plan(net, 0.5, criterion="taylor", data=sc.Samples(x, target, loss=nn.functional.mse_loss))
    nn.functional.mse_loss(net(x), target).backward()
    worth = (net[0].weight * net[0].weight.grad).abs()
    assert torch.equal(plan.cuts[0].keep, worth >= worth.flatten().sort().values[6])


def test_pooling_is_one_of_the_known():
    assert set(POOLINGS) == {"mean", "sum", "max"}
    assert recoveries("none")


def test_a_study_takes_a_spec():
    spec = sc.PruningSpec(granularity=sc.Block(4, 2, pooling="max"), scope=sc.Global(max_sparsity=0.9), skip=["fc1"],
                          recovery="best", layers={"fc2": 0.5})
    config = sc.StudyConfig.of(spec, data="digits", sparsity=(0, 0.5), seeds=1)
    assert config == sc.StudyConfig(granularity=("4x2",), pooling="max", scope=("global",), max_sparsity=0.9,
                                    criterion=("magnitude",), recovery=("best",), skip=("fc1",), layers='{"fc2": 0.5}',
                                    data="digits", sparsity=(0, 0.5), seeds=1)


def test_a_study_takes_every_setting_that_its_rows_hold():
    spec = sc.PruningSpec(granularity=sc.Neuron(round_to=8, pooling="max"), skip=())
    config = sc.StudyConfig.of(spec, data="digits")
    assert config == sc.StudyConfig(granularity=("neuron",), criterion=("l2",), pooling="max", round_to=8, skip=(),
                                    data="digits")


@pytest.mark.parametrize("spec", [
    sc.PruningSpec(scope=sc.Owl(reach=0.1)), sc.PruningSpec(scope=sc.Budget(flops=1e6)),
    sc.PruningSpec(criterion=lambda weight, signals: weight), sc.PruningSpec(recovery=sc.Finetune(epochs=3)),
    sc.PruningSpec(seed=1)])
def test_what_the_rows_of_a_study_cannot_hold_is_refused(spec):
    with pytest.raises(sc.SecateurError, match=r"study: got .*allowed"):
        sc.StudyConfig.of(spec)
