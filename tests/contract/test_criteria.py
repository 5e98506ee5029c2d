"""Every criterion, found by scanning its folder."""

import pytest
import torch

from secateur.core import registry
from secateur.pruning.criteria.base import Criterion
from secateur.pruning.signals.base import Signals

ITEMS = [(name, granularity) for name in registry.files("criteria")
         for granularity in sorted(registry.get("criteria", name).granularities)]


def signals(name, granularity, weight, seed=0):
    """Every signal that a criterion declares, drawn at random in the shapes that the docstring of Signals gives."""
    draw = torch.Generator().manual_seed(11)
    units, values = weight.shape
    rows, acts = torch.rand(64, values, generator=draw), torch.rand(64, units, generator=draw)
    everything = {
        "seed": seed, "input_norm": rows.square().mean(0).sqrt()[None],
        "input_gram": (rows.T @ rows / 64)[None].double(),
        **{n: torch.randn(weight.shape, generator=draw) for n in ("gradient", "hessian_gradient", "movement")},
        "squared_gradient": torch.rand(weight.shape, generator=draw), "flow": torch.rand(weight.shape, generator=draw),
        "unit_gram": acts.T @ acts / 64, "unit_mean": acts.mean(0), "unit_zeros": (acts < 0.5).float().mean(0),
        "outgoing": torch.randn(units, 5, generator=draw), "scale": torch.rand(units, generator=draw)}
    return Signals(granularity, **{n: everything[n] for n in registry.get("criteria", name).needs})


@pytest.mark.parametrize(("name", "granularity"), ITEMS)
def test_one_finite_score_an_item_and_no_change(name, granularity):
    weight = torch.randn(6, 10, generator=torch.Generator().manual_seed(1))
    before = weight.clone()
    scores = registry.get("criteria", name)().score(weight, signals(name, granularity, weight, 3))
    assert scores.shape == (weight.shape if granularity == "weight" else (6,))
    assert torch.isfinite(scores).all()
    assert torch.equal(weight, before)


@pytest.mark.parametrize(("name", "granularity"), ITEMS)
def test_the_same_seed_gives_the_same_scores(name, granularity):
    weight = torch.randn(4, 5, generator=torch.Generator().manual_seed(2))
    first, again, other = (registry.get("criteria", name)().score(weight, signals(name, granularity, weight, s))
                           for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert torch.equal(first, other) != registry.get("criteria", name).control


@pytest.mark.parametrize("name", registry.files("criteria"))
def test_it_says_what_it_scores(name):
    item = registry.get("criteria", name)
    assert issubclass(item, Criterion)
    assert item.granularities <= set(registry.files("granularity"))
    assert item.granularities
    assert item.score.__doc__
    assert item.__doc__


def test_a_row_of_zeros_is_worth_the_least():
    weight = torch.tensor([[1.0, 2.0], [0.0, 0.0], [3.0, -1.0]])
    for name, granularity in ITEMS:
        item = registry.get("criteria", name)
        if not item.control and not item.needs and granularity == "neuron":
            assert int(item().score(weight, Signals(granularity)).argmin()) == 1


def test_magnitude_and_l2_by_hand():
    weight = torch.tensor([[3.0, -4.0], [0.5, 0.0]])
    assert registry.get("criteria", "magnitude")().score(weight, Signals()).tolist() == [[3, 4], [0.5, 0]]
    assert registry.get("criteria", "l2")().score(weight, Signals("neuron")).tolist() == [5, 0.5]
