"""Every granularity, found by scanning its folder, on one small network."""

import pytest
import torch
from support import tiny

import secateur as sc
from secateur.core import registry
from secateur.pruning import granularity
from secateur.pruning.criteria.base import criteria_for

X = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
NAMES = list(registry.files("granularity"))
FREE = [name for name in NAMES if granularity.resolve(name).sparsity is None]


@pytest.mark.parametrize("name", FREE)
def test_more_sparsity_removes_more_and_the_model_stays(name):
    net = tiny()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    removed = [sc.plan(net, s, granularity=name, example=X, skip=()).removed for s in (0.0, 0.3, 0.6, 0.9)]
    assert removed[0] == 0
    assert removed == sorted(removed)
    assert removed[-1] > removed[1] > 0
    sc.prune(net, 0.5, granularity=name, example=X, skip=())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_what_was_planned_is_what_is_gone(name):
    net = tiny()
    plan = sc.plan(net, granularity.resolve(name).sparsity or 0.5, granularity=name, example=X, skip=["5"])
    pruned = sc.apply(net, plan)
    assert pruned(X).shape == net(X).shape
    assert plan.reached == plan.removed / plan.items > 0
    assert sum(int((p != 0).sum()) for p in pruned.parameters()) < sum(int((p != 0).sum()) for p in net.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_nothing_goes_at_zero(name):
    assert sc.plan(tiny(), 0.0, granularity=name, example=X, skip=()).removed == 0


@pytest.mark.parametrize("name", NAMES)
def test_it_names_a_criterion_that_can_score_it(name):
    item = registry.get("granularity", name)
    assert item.scored_as in registry.get("criteria", item.default_criterion).granularities
    assert item.default_criterion in criteria_for(name)
    assert item.item
