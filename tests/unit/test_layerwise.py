"""Settings of single layers, bounds and guards: each says when it acts, and refuses what is not clear."""

import re

import pytest
import torch
from support import tiny
from torch import nn

import secateur as sc
from secateur.core import registry
from secateur.pruning.scopes import resolve_scope

X = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def removed(plan):
    return {layer["name"]: layer["removed"] for layer in plan.layers()}


def test_a_layer_may_have_its_own_sparsity_granularity_and_block():
    plan = sc.plan(tiny(), 0.5, layers={"1": 0.25, "3": {"granularity": "2x4"}, "5": {"granularity": "2:4"}}, skip=())
    assert removed(plan) == {"1.weight": 48, "3.weight": 6, "5.weight": 16}
    assert "3.weight: 6 of 12 (0.5000) 2x4" in str(plan)
    assert (plan.items, plan.removed) == (192 + 96 + 32, 48 + 48 + 16)
    pruned = sc.apply(tiny(), sc.plan(tiny(), 0.5, layers={"3": {"granularity": "2x4"}}, skip=()))
    assert pruned[3].weight.reshape(4, 2, 3, 4).abs().amax((1, 3)).eq(0).sum() == 6


def test_a_name_goes_before_an_expression_and_the_inner_before_the_outer():
    net = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 4))
    plan = sc.plan(net, 0.5, layers={".*": 0.25, "0": 0.75, "0.1": {"sparsity": 0.0}}, skip=())
    assert list(removed(plan).values()) == [12, 0, 4]


def test_skip_stands_in_layers_too():
    assert list(removed(sc.plan(tiny(), 0.5, layers={"[35]": {"skip": True}}, skip=()))) == ["1.weight"]


def test_the_rest_competes_without_those_that_have_their_own():
    plan = sc.plan(tiny(), 0.5, scope="global", layers={"1": {"sparsity": 0.0}}, skip=())
    assert removed(plan)["1.weight"] == 0
    assert plan.removed == round(0.5 * (96 + 32))


@pytest.mark.parametrize("scope", ["global", "lamp", "erk"])
def test_least_and_most_hold_and_the_total_stays_exact(scope):
    plan = sc.plan(tiny(), 0.8, scope=resolve_scope(scope, min_sparsity=0.6, max_sparsity=0.85), skip=(),
                   layers={"5": {"max_sparsity": 0.625}})
    assert plan.removed == 256
    for layer in plan.layers():
        assert 0.6 <= layer["sparsity"] <= (0.625 if layer["name"] == "5.weight" else 0.85)


def test_a_bound_that_acts_is_told():
    plan = sc.plan(tiny(), 0.8, layers={"5": {"max_sparsity": 1.0, "min_sparsity": 0.9}},
                   scope=sc.Layer(max_sparsity=0.75), skip=())
    assert removed(plan) == {"1.weight": 144, "3.weight": 72, "5.weight": 29}
    assert "1.weight: 144 of 192 weights removed, not 154: max_sparsity=0.75" in plan.notes
    assert "5.weight: 29 of 32 weights removed, not 26: min_sparsity=0.9" in plan.notes


def test_a_layer_of_weights_is_never_emptied_in_silence():
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        net[0].weight.fill_(0.001)
    plan = sc.plan(net, 0.625, scope="global", skip=())
    assert removed(plan) == {"0.weight": 3, "1.weight": 2}
    assert plan.notes == ("0.weight: one of 4 weights kept; otherwise all would be removed",)
    assert sc.plan(nn.Sequential(nn.Linear(2, 2)), 0.9, skip=()).notes == plan.notes


def test_neurons_have_settings_by_the_module_that_makes_them():
    plan = sc.plan(tiny(), 0.5, granularity="neuron", example=X, layers={"1": 0.25, "3": {"max_sparsity": 0.25}})
    assert removed(plan) == {"1": 3, "3": 2}


@pytest.mark.parametrize(("arguments", "message"), [
    ({"layers": {"6": 0.5}}, "unknown module in layers '6'"),
    ({"layers": {"1": {"sparsty": 0.5}}}, "did you mean 'sparsity'"),
    ({"layers": {"1": "much"}}, "layers['1'] is 'much': allowed is a sparsity or a mapping"),
    ({"layers": {"1": 1.0}}, "allowed is a fraction removed in [0, 1)"),
    ({"layers": {"1": {"max_sparsity": 2}}}, "max_sparsity of layers['1'] is 2: allowed is a fraction removed in [0,"),
    ({"layers": {"1": {"min_sparsity": 0.9, "max_sparsity": 0.1}}}, "min_sparsity 0.9 is above max_sparsity 0.1"),
    ({"layers": {"[13]": 0.2, "[15]": 0.3}}, "sparsity of '1' is ambiguous: '[13]' says 0.2, '[15]' says 0.3"),
    ({"layers": {"1": {"granularity": "neuron"}}}, "neurons and weights need two plans"),
    ({"budget": "flops"}, "unknown argument 'budget': use scope=Budget("),
    ({"max_sparsity": 0.9}, "unknown argument 'max_sparsity': use scope=Global(max_sparsity=0.95)")])
def test_a_mistake_is_one_line(arguments, message):
    with pytest.raises(sc.SecateurError) as caught:
        sc.plan(tiny(), **{"sparsity": 0.5, "skip": (), **arguments})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("bounds", "message"), [
    ({"min_sparsity": 0.9, "max_sparsity": 0.1}, "every layer: min_sparsity 0.9 is above max_sparsity 0.1"),
    ({"max_sparsity": 2}, "max_sparsity of every layer is 2: allowed is a fraction removed in [0, 1]")])
@pytest.mark.parametrize("name", registry.files("scopes"))
def test_bounds_of_every_scope_are_checked(name, bounds, message):
    with pytest.raises(sc.SecateurError, match=re.escape(message)):
        resolve_scope(name, **bounds)


def test_settings_of_layers_are_a_mapping():
    with pytest.raises(sc.SecateurError, match=r"layers: got \['1'\], allowed: a mapping"):
        sc.plan(tiny(), 0.5, layers=["1"], skip=())


def test_a_bound_is_named_only_where_it_acted():
    """The greatest layer may lose all but one weight; it loses far fewer, because the others have to lose theirs."""
    net = tiny()
    with torch.no_grad():
        net[1].weight.mul_(1e-6)
    plan = sc.plan(net, 0.625, scope=sc.Global(min_sparsity=0.9), skip=())
    assert [layer["removed"] for layer in plan.layers()] == [173, 87, 29]
    assert not any(note.startswith("1.weight") for note in plan.notes)
    assert any("asked to remove 200 of 320, removed 289" in note for note in plan.notes)
