"""Recoveries after one that chose anew keep the network's zeros, as many as the plan says."""

import copy

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.data.calibration import calibration
from secateur.recovery.current_plan import current_plan
from secateur.recovery.methods.finetune import Finetune
from secateur.recovery.methods.gradual import Gradual
from secateur.recovery.methods.reinitialised import Reinitialised
from secateur.recovery.methods.rewind import Rewind
from secateur.recovery.pipeline import recover

X = torch.randn(300, 12, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0).long() + 2 * (X[:, 1] > 0).long()
BRIEF = Finetune(epochs=1)
GRADUAL = Gradual(epochs=2, batch_size=50, lr=5e-3, every=1)


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 10), nn.ReLU(), nn.Linear(10, 4))


def zeros(net):
    return [net[i].weight == 0 for i in (0, 2, 4)]


@pytest.mark.parametrize("first", ["rechoose", "sparsegpt", GRADUAL])
@pytest.mark.parametrize("then", ["reconstruct", Rewind(mlp().state_dict()), Reinitialised(BRIEF), BRIEF])
def test_what_one_chose_the_next_one_keeps(first, then):
    net, plan = mlp(), sc.plan(mlp(), 0.7, skip=())
    chosen = recover(net, sc.apply(net, plan), plan, first, calibration((X, Y))).network
    assert any(not torch.equal(z, ~c.keep) for z, c in zip(zeros(chosen), plan.cuts, strict=True))
    wanted = zeros(copy.deepcopy(chosen))
    both = recover(net, sc.apply(net, plan), plan, [first, then], calibration((X, Y))).network
    again = recover(net, chosen, plan, then, calibration((X, Y))).network
    for found in (both, again):
        assert all(torch.equal(a, b) for a, b in zip(wanted, zeros(found), strict=True))


def test_blocks_are_read_whole_and_are_as_many():
    net, plan = mlp(), sc.plan(mlp(), 0.75, granularity="2x2", skip=())
    found = recover(net, sc.apply(net, plan), plan, [GRADUAL, "reconstruct"], calibration((X, Y))).network
    assert [int(z.sum()) for z in zeros(found)] == [c.removed * 4 for c in plan.cuts]
    assert set((found[0].weight != 0).view(8, 2, 6, 2).sum((1, 3)).flatten().tolist()) == {0, 4}


def test_a_zero_more_is_no_weight_less():
    """Three zeros where two went: the two that the plan removed before the one that it kept."""
    net = nn.Linear(4, 1, bias=False)
    net.weight.data = torch.tensor([[1.0, 2, 3, 4]])
    plan = sc.plan(net, 0.5, skip=())
    assert current_plan(plan, sc.apply(net, plan)) is plan
    net.weight.data = torch.tensor([[0.0, 5, 0, 0]])
    assert current_plan(plan, net).cuts[0].keep.int().tolist() == [[0, 1, 0, 1]]
