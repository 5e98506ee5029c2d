"""The public line: skip, guards, refusals, plans that can be printed and compared."""

import pytest
import torch
from support import not_a_number, tiny
from torch import nn

import secateur as sc

X = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def test_skip_takes_names_and_expressions():
    net = tiny()
    for skip in (["5"], ["5$"], ["[5-9]"]):
        assert [c.name for c in sc.plan(net, 0.5, skip=skip).cuts] == ["1.weight", "3.weight"]


def test_skip_covers_what_lies_inside_a_module():
    net = nn.Sequential(tiny(), nn.Linear(4, 3))
    assert [c.name for c in sc.plan(net, 0.5, skip=(), layers={"0": {"skip": True}}).cuts] == ["1.weight"]
    assert [c.name for c in sc.plan(net, 0.5, skip=["0.1", "0.3"]).cuts] == ["0.5.weight"]


@pytest.mark.parametrize(("arguments", "message"), [
    ({"sparsity": 1.0}, "allowed is a fraction"), ({"skip": ["6"]}, "unknown module in skip '6'"),
    ({"skip": ["["]}, "unknown module in skip '['"),
    ({"skip": ["5", "5"]}, "skip names 5 twice"), ({"granularity": "neuron"}, "needs example="),
    ({"criterion": "l2"}, "criterion 'l2' scores neuron, not 'weight'; for 'weight' allowed: grasp, magnitude"),
    ({"scope": "layers"}, "did you mean 'layer'"), ({"skip": [".*"]}, "nothing to cut")])
def test_a_mistake_is_one_line(arguments, message):
    with pytest.raises(sc.SecateurError) as caught:
        sc.plan(tiny(), **{"sparsity": 0.5, "skip": (), **arguments})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nan_in_weights_is_refused_by_name():
    with pytest.raises(sc.SecateurError, match=r"parameter '1\.weight' holds 1 NaN"):
        sc.plan(not_a_number(), 0.5, skip=())


def test_a_layer_of_neurons_is_never_emptied_in_silence():
    plan = sc.plan(tiny(), 0.99, granularity="neuron", example=X)
    assert [layer["removed"] for layer in plan.layers()] == [11, 7]
    assert len(plan.notes) == 2
    assert "one of 12 neurons kept" in str(plan)
    assert plan.reached == 18 / 20


def test_a_plan_for_another_network_is_refused():
    plan = sc.plan(tiny(), 0.5, skip=())
    with pytest.raises(sc.SecateurError, match="made for another network: 3 parameters differ"):
        sc.apply(nn.Sequential(nn.Flatten(), nn.Linear(16, 11), nn.ReLU(), nn.Linear(11, 8, bias=False), nn.ReLU(),
                               nn.Linear(8, 4, bias=False)), plan)


def test_plans_compare_by_value():
    net = tiny()
    assert sc.plan(net, 0.5, skip=()) == sc.plan(net, 0.5, skip=())
    assert sc.plan(net, 0.5, skip=()) != sc.plan(net, 0.25, skip=())
    assert sc.plan(net, 0.5, criterion="random", seed=1, skip=()) != sc.plan(net, 0.5, criterion="random", seed=2,
                                                                             skip=())


def test_a_model_in_training_mode_stays_there():
    net = tiny().train()
    sc.prune(net, 0.5, granularity="neuron", example=X)
    assert net.training


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.8])
def test_the_smaller_network_is_the_network_with_zeroed_neurons(sparsity):
    """In float64: the cut network against the whole one whose removed neurons are zeroed."""
    net = tiny().double()
    plan = sc.plan(net, sparsity, granularity="neuron", example=X.double())
    small, zeroed = sc.apply(net, plan), tiny().double()
    zeroed.load_state_dict(net.state_dict())
    with torch.no_grad():
        for cut in plan.cuts:
            zeroed.get_submodule(cut.name).weight[~cut.keep] = 0
    torch.testing.assert_close(small(X.double()), zeroed(X.double()), rtol=1e-12, atol=1e-12)


def test_a_packed_tensor_is_told_once_with_the_ranges_of_its_units():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 3)

        def forward(self, x):
            q, k, _ = self.qkv(x).split(8, -1)
            return self.out(torch.relu(q) * torch.sigmoid(k))

    told = next(line for line in str(sc.targets(Packed(), torch.rand(2, 8))).splitlines() if "out.weight[1]" in line)
    assert told.count("qkv.weight[0]") == 1
    assert "qkv.weight[0] (0-15), qkv.bias[0] (0-15), out.weight[1]" in told
