"""ERK and LAMP as published, worked out on paper and against slow twins; bounds against exhaustive search."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import secateur as sc
from secateur.pruning.ranking import Ranking, removal_count, share_out
from secateur.pruning.scopes.lamp import adaptive_scores

SIDES = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=5)


def published_erk(shapes, sparsity):
    """The loop of the authors' code: scale, make the layers above 1 dense, begin again (densities)."""
    dense = set()
    while True:
        divisor, rhs = 0.0, 0.0
        raw = {}
        for i, shape in enumerate(shapes):
            n = np.prod(shape)
            if i in dense:
                rhs -= n * sparsity
            else:
                rhs += n * (1 - sparsity)
                raw[i] = np.sum(shape) / n
                divisor += raw[i] * n
        if not raw:
            return [1.0] * len(shapes)
        epsilon = rhs / divisor
        most = max(raw.values())
        if most * epsilon <= 1:
            return [1.0 if i in dense else epsilon * raw[i] for i in range(len(shapes))]
        dense |= {i for i, r in raw.items() if r == most}


def network(shapes):
    return nn.ModuleList([nn.Linear(i, o, bias=False) if not k else nn.Conv2d(i, o, k[0], bias=False)
                          for o, i, *k in shapes])


@settings(max_examples=60)
@given(SIDES, st.integers(0, 99))
def test_erk_is_the_published_loop_and_exact_in_all(sides, hundredths):
    net, sparsity = network(sides), hundredths / 100
    plan = sc.plan(net, sparsity, scope="erk", skip=())
    items = sum(a * b for a, b in sides)
    floor = sum(1 for a, b in sides)
    if removal_count(items, sparsity) <= items - floor and not plan.notes:
        assert plan.removed == removal_count(items, sparsity)
        for layer, density in zip(plan.layers(), published_erk(sides, sparsity), strict=True):
            assert abs(layer["removed"] - (1 - density) * layer["items"]) <= len(sides) + 1
    assert all(layer["removed"] < layer["items"] for layer in plan.layers())


def test_erk_of_a_convolution_by_hand():
    """Sides 8+4+3+3 = 18 over 288, and 10+80 = 90 over 800; at 60% kept are 435.2, so e is 435.2/108 = 4.0296:
    the convolution keeps 18 e = 72.53 and the linear layer 90 e = 362.67."""
    plan = sc.plan(network([(8, 4, 3), (10, 80)]), 0.6, scope="erk", skip=())
    assert [layer["items"] - layer["removed"] for layer in plan.layers()] == [72, 363]
    assert plan.removed == removal_count(1088, 0.6) == 653


def test_erk_leaves_a_thin_layer_dense():
    """(2, 2) would have density 4 e / 4 > 1: it stays whole, and the other loses all."""
    plan = sc.plan(network([(2, 2), (30, 30)]), 0.5, scope="erk", skip=())
    assert [layer["removed"] for layer in plan.layers()] == [0, 452]


def slow_lamp(scores):
    """By definition: the square over the sum of the squares that stand at or after it, by (score, index)."""
    order = sorted(range(len(scores)), key=lambda i: (scores[i], i))
    return [scores[i] ** 2 / sum(scores[j] ** 2 for j in order[order.index(i):]) if scores[i] else 0.0
            for i in range(len(scores))]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_lamp_is_its_definition(scores):
    got = adaptive_scores(torch.tensor(scores, dtype=torch.float32)).tolist()
    assert got == pytest.approx(slow_lamp([float(s) for s in scores]), rel=1e-12)


def test_lamp_by_hand():
    """(1, 2): 1/5, 1. (1, 1, 4): 1/18, 1/17, 1. So the three small ones go in the order b0, b1, a0."""
    net = network([(1, 2), (1, 3)])
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, -2]]))
        net[1].weight.copy_(torch.tensor([[1.0, -1, 4]]))
    for sparsity, removed in ((0.2, [0, 1]), (0.4, [0, 2]), (0.6, [1, 2])):
        assert [layer["removed"] for layer in sc.plan(net, sparsity, scope="lamp", skip=()).layers()] == removed


def test_lamp_does_not_see_the_scale_of_a_layer():
    net = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 20))
    before = sc.plan(net, 0.7, scope="lamp", skip=())
    with torch.no_grad():
        net[0].weight.mul_(64)
    assert sc.plan(net, 0.7, scope="lamp", skip=()) == before
    assert sc.plan(net, 0.7, scope="global", skip=()).layers()[0]["removed"] < before.layers()[0]["removed"]


def authors_owl(weights, inputs, sparsity, times=5.0, reach=0.08):
    """The authors' lines: share of outliers in percent, scaled, centred, as densities (layers of one size)."""
    shares = []
    for weight, x in zip(weights, inputs, strict=True):
        metric = np.abs(weight) * np.sqrt((x**2).sum(0))[None]
        shares.append((metric > metric.mean() * times).sum() / metric.size * 100)
    ratio = np.array(shares)
    ratio = (ratio - ratio.min()) * (1 / (ratio.max() - ratio.min()) * reach * 2)
    return ratio - ratio.mean() + (1 - sparsity)


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.7, 0.85])
def test_owl_is_the_authors_lines(sparsity):
    draw = torch.Generator().manual_seed(5)
    layers = [nn.Linear(24, 24, bias=False) for _ in range(4)]
    with torch.no_grad():
        for i, layer in enumerate(layers):
            layer.weight.copy_(torch.randn(24, 24, generator=draw) ** (2 * i + 1))
    net, x = nn.Sequential(*layers), torch.randn(50, 24, generator=draw)
    inputs = [x]
    for layer in layers[:-1]:
        inputs.append(layer(inputs[-1]).detach())
    densities = authors_owl([la.weight.detach().double().numpy() for la in layers],
                            [v.double().numpy() for v in inputs], sparsity)
    plan = sc.plan(net, sparsity, scope="owl", data=x, skip=())
    assert plan.removed == removal_count(4 * 576, sparsity)
    for layer, density in zip(plan.layers(), densities, strict=True):
        assert abs(layer["removed"] - (1 - density) * 576) <= 1
    assert max(densities) - min(densities) == pytest.approx(0.16)


def test_owl_by_hand():
    """One outlier of ten in the first layer, none in the second: densities 0.5 and 0.5 apart by 0.16, so 0.58, 0.42."""
    first, second = nn.Linear(50, 2, bias=False), nn.Linear(2, 50, bias=False)
    with torch.no_grad():
        first.weight.fill_(1.0)
        first.weight[:, ::10] = 20.0
        second.weight.fill_(1.0)
    plan = sc.plan(nn.Sequential(first, second), 0.5, scope="owl", data=torch.ones(8, 50), skip=())
    assert [layer["removed"] for layer in plan.layers()] == [42, 58]


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=4), min_size=1, max_size=3), st.data())
def test_bounded_selection_is_exhaustive_search(layers, data):
    bounds = []
    for layer in layers:
        low = data.draw(st.integers(0, len(layer)))
        bounds.append((low, data.draw(st.integers(low, len(layer)))))
    items = [(i, s) for i, layer in enumerate(layers) for s in layer]
    count = data.draw(st.integers(0, len(items)))
    keeps = Ranking([torch.tensor(layer, dtype=torch.float32) for layer in layers]).take(count, bounds)
    removed = [int((~k).sum()) for k in keeps]
    assert all(low <= r <= high for r, (low, high) in zip(removed, bounds, strict=True))
    reachable = min(max(count, sum(b[0] for b in bounds)), sum(b[1] for b in bounds))
    assert sum(removed) == reachable
    lost = sum(float(torch.tensor(layer)[~keep].sum()) for keep, layer in zip(keeps, layers, strict=True))
    fair = [sum(s for _, s in chosen) for chosen in combinations(items, reachable)
            if all(low <= sum(1 for i, _ in chosen if i == n) <= high for n, (low, high) in enumerate(bounds))]
    assert lost == min(fair)


@given(st.lists(st.floats(0, 50), min_size=1, max_size=6), st.data())
def test_shares_sum_to_the_total_and_stay_near(wanted, data):
    total = round(sum(wanted))
    bounds = [(0, 100)] * len(wanted)
    shares = share_out(wanted, total, bounds)
    assert sum(shares) == total
    assert all(abs(s - w) <= 1 + 1e-9 for s, w in zip(shares, wanted, strict=True))


@settings(max_examples=40)
@given(SIDES, st.integers(0, 99), st.sampled_from(["global", "lamp", "erk"]))
def test_the_network_as_a_whole_loses_exactly_what_was_asked(sides, hundredths, scope):
    net = network(sides)
    plan = sc.plan(net, hundredths / 100, scope=scope, skip=())
    items = sum(a * b for a, b in sides)
    assert plan.removed == min(removal_count(items, hundredths / 100), items - len(sides))
    assert all(layer["removed"] < layer["items"] for layer in plan.layers())


@pytest.mark.parametrize(("scope", "granularity", "message"), [
    ("erk", "neuron", "scope 'erk' is defined for weight, not neuron; for neuron allowed: "),
    ("sensitivity", "weight", "scope 'sensitivity' needs calibration inputs: pass data="),
    ("budget", "weight", "scope 'budget' needs calibration inputs: pass data="),
    ("owl", "weight", "scope 'owl' needs calibration inputs: pass data="), ("lamb", "weight", "did you mean 'lamp'")])
def test_what_a_scope_cannot_do_is_refused(scope, granularity, message):
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    with pytest.raises(sc.SecateurError) as caught:
        sc.plan(net, 0.5, granularity=granularity, scope=scope, example=torch.rand(2, 8), skip=())
    assert message in str(caught.value)
