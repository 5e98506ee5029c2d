"""Sequential networks: groups, removal and scores worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import secateur as sc
from secateur import graph


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    sizes = [12, 9, 7, 3]
    layers = [m for a, b in zip(sizes, sizes[1:], strict=False) for m in (nn.Linear(a, b, bias=False), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


def lenet5() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(800, 500), nn.ReLU(), nn.Dropout(), nn.Linear(500, 10))


def test_groups_of_an_mlp_are_its_hidden_layers():
    structure = graph.trace(mlp(), torch.rand(2, 3, 4))
    cuttable = [(g.name, g.units, g.unit) for g in structure.groups if g.cuttable]
    assert cuttable == [("1", 9, "neuron"), ("3", 7, "neuron")]
    assert structure.outputs == ("5",)
    last = structure.groups[-1]
    assert last.name == "5" and last.reason == "it reaches the network's output"


def test_neuron_scores_are_the_norms_of_the_weight_rows():
    net = mlp()
    plan = sc.plan(net, 4 / 9, granularity="neuron", example=torch.rand(2, 3, 4), skip=["3"])
    worst = net[1].weight.norm(dim=1).argsort()[:4]
    assert sorted((~plan.cuts[0].keep).nonzero().flatten().tolist()) == sorted(worst.tolist())


def test_removal_equals_zeroing_rows_and_columns():
    net, x = mlp().double(), torch.rand(5, 3, 4, dtype=torch.float64)
    plan = sc.plan(net, 0.5, granularity="neuron", example=x)
    small = sc.apply(net, plan)
    with torch.no_grad():
        for index, cut in zip((1, 3), plan.cuts, strict=True):
            net[index].weight[~cut.keep] = 0
    assert [tuple(p.shape) for p in small.parameters()] == [(5, 12), (3, 5), (3, 3)]
    assert torch.allclose(small(x), net(x), atol=1e-12)


def test_flattened_channels_take_their_whole_window_along():
    net, x = lenet5().double().eval(), torch.rand(2, 1, 28, 28, dtype=torch.float64)
    plan = sc.plan(net, 0.5, granularity="neuron", example=x)
    small = sc.apply(net, plan)
    assert [tuple(p.shape) for n, p in small.named_parameters() if "weight" in n] == [
        (10, 1, 5, 5), (25, 10, 5, 5), (250, 400), (10, 250)]
    with torch.no_grad():
        for index, cut in zip((0, 2, 5), plan.cuts, strict=True):
            net[index].weight[~cut.keep] = 0
            net[index].bias[~cut.keep] = 0
    assert torch.allclose(small(x), net(x), atol=1e-12)
    assert small[5].in_features == 400 and small[2].out_channels == 25


def test_tracing_leaves_the_network_and_its_mode_alone():
    net = lenet5().train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    graph.trace(net, torch.rand(2, 1, 28, 28))
    assert net.training and net[7].training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_an_example_that_does_not_run_is_refused_in_one_line():
    with pytest.raises(sc.SecateurError, match="the example does not run on Sequential") as caught:
        graph.trace(mlp(), torch.rand(2, 5))
    assert "\n" not in str(caught.value) and "float32 [2, 5]" in str(caught.value)
