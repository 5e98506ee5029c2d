"""Budgets and scans against exhaustive search and against the definition."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import secateur as sc
from secateur.data.calibration import calibration
from secateur.measure.flops import work
from secateur.measure.size import nonzeros, size
from secateur.pruning import knapsack
from secateur.pruning.scan import Curve
from secateur.pruning.scopes.budget import read_budget
from secateur.pruning.selection import Selection
from secateur.pruning.sensitivity import sensitivity

X = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
OPTIONS = st.lists(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=4), min_size=1,
                   max_size=5)


def net(*widths, seed=0):
    torch.manual_seed(seed)
    layers = [m for a, b in zip(widths, widths[1:], strict=False) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def exhaustive(options, limit):
    """The least loss over all combinations within the limit; None where there is none."""
    fair = [sum(loss for _, loss in chosen) for chosen in product(*options) if sum(c for c, _ in chosen) <= limit]
    return min(fair) if fair else None


@given(OPTIONS, st.integers(0, 80), st.sampled_from([20_000, 3]))
def test_the_choice_is_exhaustive_search(options, limit, most):
    """Followed in full it is exact; followed in part it still keeps to the budget."""
    costs, losses = ([np.array([o[i] for o in layer], float) for layer in options] for i in (0, 1))
    before, knapsack._MOST = knapsack._MOST, most
    try:
        found = knapsack.least_loss(costs, losses, limit)
    finally:
        knapsack._MOST = before
    best = exhaustive(options, limit)
    assert (found is None) == (best is None)
    if found is not None:
        assert sum(c[k] for c, k in zip(costs, found, strict=True)) <= limit
        lost = sum(v[k] for v, k in zip(losses, found, strict=True))
        assert lost == best if most > 3 else lost >= best


def plainly_scanned(model, name, count):
    """The slow twin of one place of a scan: zero the smallest weights of one layer, compare the softmaxes."""
    cut = net(6, 5, 4)
    cut.load_state_dict(model.state_dict())
    weight = cut.get_parameter(name)
    with torch.no_grad():
        order = weight.flatten().abs().argsort(stable=True)[:count]
        weight.view(-1)[order] = 0
        p, q = model(X).double().softmax(1), cut(X).double().softmax(1)
    return float((p * (p / q).log()).sum(1).mean()), float((p.argmax(1) == q.argmax(1)).double().mean())


def test_a_scan_is_its_slow_twin():
    model = net(6, 5, 4)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = sensitivity(model, X, sparsities=(0.3, 0.8), skip=())
    for curve in found.curves:
        assert curve.removed == (0, round(0.3 * curve.items), round(0.8 * curve.items), curve.items - 1)
        for count, loss, same in zip(curve.removed[1:], curve.loss[1:], curve.same[1:], strict=True):
            assert (loss, same) == pytest.approx(plainly_scanned(model, curve.name, count), abs=1e-9)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_scan_of_neurons_removes_them():
    found = sensitivity(net(6, 5, 5, 4), X, granularity="neuron", example=X[:1], sparsities=(0.4,))
    assert [(c.name, c.removed) for c in found.curves] == [("0", (0, 2, 4)), ("2", (0, 2, 4))]
    assert all(c.loss[0] == 0 < c.loss[-1] for c in found.curves)


def predicted(selection, counts):
    curves = selection.scan(DEFAULT).curves
    return sum(float(c.at(np.array([n]))[0]) for c, n in zip(curves, counts, strict=True))


DEFAULT = (0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)


@pytest.mark.parametrize("sparsity", [0.2, 0.5, 0.61, 0.8])
def test_sensitivity_is_exhaustive_search_with_the_exact_count(sparsity):
    selection = Selection(net(6, 5, 3, 4), sc.PruningSpec(scope="sensitivity", skip=()), samples=calibration(X))
    plan = selection.plan(sparsity)
    items = [layer["items"] for layer in plan.layers()]
    assert plan.removed == round(sparsity * sum(items))
    fair = [counts for counts in product(*(range(n) for n in items)) if sum(counts) == plan.removed]
    best = min(predicted(selection, counts) for counts in fair[:: max(1, len(fair) // 4000)])
    assert predicted(selection, [layer["removed"] for layer in plan.layers()]) <= best + 1e-9


def real(model, resource):
    if resource == "parameters":
        return sum(int((p != 0).sum()) for p in model.parameters())
    if resource == "flops":
        return work(model, X[:1]).nonzero_flops(model)
    return size(model, nonzeros(model))["bytes_sparse"]


@pytest.mark.parametrize("resource", ["parameters", "flops", "bytes"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_budget_is_met_at_the_least_predicted_loss_of_all(resource, share):
    model = net(6, 5, 3, 4)
    limit = share * real(model, resource)
    spec = sc.PruningSpec(scope=sc.Budget(**{resource: limit}), skip=())
    selection = Selection(model, spec, samples=calibration(X))
    plan = selection.plan()
    assert real(sc.apply(model, plan), resource) <= limit
    items = [layer["items"] for layer in plan.layers()]
    network, seen = selection._allocator._trials(selection._allocator._contests[0]).cut, []
    for counts in list(product(*(range(n) for n in items)))[::37]:
        if predicted(selection, counts) < predicted(selection, [c.removed for c in plan.cuts]) - 1e-9:
            seen.append(real(network(counts), resource))
    assert seen == [] or min(seen) > limit


@pytest.mark.parametrize("resource", ["parameters", "flops", "bytes"])
@pytest.mark.parametrize("share", [0.4, 0.7])
def test_a_budget_of_neurons_is_met_by_the_small_network_itself(resource, share):
    model = net(6, 20, 16, 4)
    plan = sc.plan(model, granularity="neuron", scope=sc.Budget(**{resource: share * real(model, resource)}), data=X,
                   example=X[:2])
    small = real(sc.apply(model, plan), resource)
    assert 0.8 * share * real(model, resource) <= small <= share * real(model, resource)


def test_the_name_alone_is_a_share_of_the_original():
    model = net(6, 20, 4)
    plan = sc.plan(model, 0.75, scope=sc.Budget("flops"), data=X, skip=())
    assert real(sc.apply(model, plan), "flops") <= 0.25 * real(model, "flops")
    assert sc.plan(model, 0.0, scope=sc.Budget("flops"), data=X, skip=()).removed == 0


def test_milliseconds_are_met_as_the_costs_measure_them(monkeypatch):
    """With a made-up clock: a network costs a millisecond for every hundred weights that are not zero."""
    from secateur.pruning.costs import Milliseconds

    def weights(self, index, left):
        return left / 100.0

    monkeypatch.setattr(Milliseconds, "weights", weights)
    monkeypatch.setattr(Milliseconds, "real", lambda self, m: sum(int((p != 0).sum()) for p in m.parameters()) / 100)
    model = net(6, 20, 4)
    plan = sc.plan(model, scope=sc.Budget(ms=1.0, batch=16), data=X, skip=())
    assert 0.9 <= sum(int((p != 0).sum()) for p in sc.apply(model, plan).parameters()) / 100 <= 1.0


def test_milliseconds_are_measured_on_this_machine():
    model = net(6, 64, 4)
    plan = sc.plan(model, scope=sc.Budget(ms=1e6), data=X, skip=())
    assert plan.removed == 0
    with pytest.raises(sc.SecateurError, match="asked for 1e-06, the smallest possible value is"):
        sc.plan(model, scope=sc.Budget(ms=1e-6), data=X, skip=())


def test_a_budget_that_nothing_meets_is_refused_with_what_can_be():
    told = "budget parameters 3: asked for 3, the smallest possible value is 11, 18.64% of the original's 59"
    with pytest.raises(sc.SecateurError, match=told):
        sc.plan(net(6, 5, 4), scope=sc.Budget(parameters=3), data=X, skip=())


@pytest.mark.parametrize(("budget", "message"), [
    ("flop", "did you mean 'flops'"), ({"flops": -1}, "budget flops -1: allowed are finite numbers above 0"),
    ({"flops": 1, "bytes": 2}, "allowed is one of parameters, flops, bytes, ms"), (3, "allowed is one of"),
    ({"ms": 1, "batch": 0}, "budget batch 0: allowed are whole numbers from 1")])
def test_a_budget_that_cannot_be_is_refused(budget, message):
    with pytest.raises(sc.SecateurError) as caught:
        sc.Budget(**read_budget(budget))
    assert message in str(caught.value)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"sparsity": 0.5, "scope": sc.Budget(flops=10)}, "sparsity 0.5 and budget flops 10: allowed is one of them"),
    ({"scope": sc.Budget("flops")}, "sparsity is missing"),
    ({"sparsity": 0.5, "scope": "budget", "data": None}, "scope 'budget' needs calibration inputs: pass data="),
    ({"sparsity": 0.5, "layers": {"0": {"granularity": "1x2"}}}, "divides items of one kind")])
def test_what_is_not_clear_is_refused(arguments, message):
    with pytest.raises(sc.SecateurError) as caught:
        sc.plan(net(6, 5, 4), **{"scope": sc.Budget("flops"), "data": X, "skip": (), **arguments})
    assert message in str(caught.value)


def test_layers_that_stand_alone_count_towards_the_budget():
    model = net(8, 12, 8, 4)
    limit = 0.4 * real(model, "parameters")
    x = torch.randn(32, 8)
    plan = sc.plan(model, scope=sc.Budget(parameters=limit), data=x, layers={"0": {"granularity": "2:4"}}, skip=())
    assert plan.layers()[0]["sparsity"] == 0.5
    assert 0.98 * limit <= real(sc.apply(model, plan), "parameters") <= limit
    assert any(note.startswith("parameters: ") for note in plan.notes)


def test_outputs_that_are_no_classes_are_refused():
    with pytest.raises(sc.SecateurError, match=r"outputs of shape \(samples, ..., classes\), got \(64, 1\)"):
        sensitivity(net(6, 5, 1), X, skip=())


def test_a_curve_never_falls():
    curve = Curve("a", 10, (0, 2, 4, 9), (0.0, 3.0, 1.0, 4.0), (1.0, 1.0, 1.0, 0.5))
    assert (np.diff(curve.at(np.arange(10))) > 0).all()
