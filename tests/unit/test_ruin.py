"""A cut that ruins a network says so and what to try; one that does not says nothing."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import nn

import secateur as sc
from secateur.core.errors import RuinousCutWarning
from secateur.data.calibration import Calibration
from secateur.measure.agreement import Agreement, agreement
from secateur.measure.ruin import ruin

EYE = torch.eye(2)


def linear(weight, bias=None):
    made = nn.Linear(2, 2, bias=bias is not None)
    made.weight.data.copy_(torch.tensor(weight))
    if bias is not None:
        made.bias.data.copy_(torch.tensor(bias))
    return made


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5))


X = torch.randn(200, 8, generator=torch.Generator().manual_seed(1))


def told(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [w for w in caught if issubclass(w.category, RuinousCutWarning)]


def test_lost_variance_by_hand():
    # 16 rows, half (1, 0), half (0, 1), come out as they are: mean (1/2, 1/2), 32 values that are 1/2 away: 8.
    rows, same = EYE.repeat(8, 1), linear([[1.0, 0.0], [0.0, 1.0]])
    halved = agreement(same, linear([[0.5, 0.0], [0.0, 0.5]]), Calibration([rows[:6], rows[6:]]))
    assert halved.lost == pytest.approx(16 * 0.25 / 8)
    assert (halved.same, halved.usual) == (1.0, 0.5)
    nothing = linear([[0.0, 0.0], [0.0, 0.0]])
    assert agreement(same, nothing, Calibration([rows])).lost == pytest.approx(16 / 8)
    mean = linear([[0.0, 0.0], [0.0, 0.0]], [0.5, 0.5])
    assert agreement(same, mean, Calibration([rows])).lost == pytest.approx(1.0)


def test_far_from_zero_the_variance_is_not_rounded_away():
    rows, far = EYE.repeat(8, 1), [4096.0, 4096.0]
    near = agreement(linear([[1.0, 0.0], [0.0, 1.0]], far), linear([[0.5, 0.0], [0.0, 0.5]], far), Calibration([rows]))
    assert near.lost == pytest.approx(0.5)


def test_one_sample_is_compared_with_the_mean_of_its_values():
    # (3, 1) has the mean 2: 1 + 1; the cut network gives (3, 0): 1 away.
    near = agreement(linear([[3.0, 0.0], [1.0, 0.0]]), linear([[3.0, 0.0], [0.0, 0.0]]), Calibration([EYE[:1]]))
    assert near.lost == pytest.approx(0.5)
    assert near.usual == 0.5
    assert agreement(nn.Linear(2, 1), nn.Linear(2, 1), Calibration([EYE[:1]])).lost is None


@pytest.mark.parametrize(("near", "ruinous"), [
    (Agreement(1, 0, 50, lost=0.89), False), (Agreement(1, 0, 50, lost=0.9), True),
    (Agreement(1, 0, 50, lost=math.nan), True), (Agreement(1, 0, 50), False),
    (Agreement(1, 0, 50, same=0.8, lost=5, usual=0.5), False), (Agreement(1, 0, 50, same=0.7, lost=5, usual=0.5), True),
    (Agreement(1, 0, 50, same=1, lost=5, usual=1), True)])
def test_what_is_ruinous(near, ruinous):
    assert bool(ruin(near)) == ruinous


@pytest.mark.parametrize("given", [{"example": X}, {"example": X[:32].numpy()}, {"data": X, "recovery": "none"}])
def test_a_network_of_a_few_weights_is_told_once_at_the_caller_s_line(given):
    found = told(lambda: sc.prune(network(), 0.995, skip=(), **given))
    assert len(found) == 1 and found[0].filename == __file__
    for word in ("ruinous", "variance is lost", "data=", "lower sparsity", "scope='global'", "sc.Budget", "skip="):
        assert word in str(found[0].message)


@pytest.mark.parametrize("settings", [{"granularity": "weight"}, {"granularity": "neuron"}])
def test_half_with_recovery_is_not_told(settings):
    assert not told(lambda: sc.prune(network(), 0.5, data=X, **settings))
    assert not told(lambda: sc.prune(network(), 0.5, data=X[:1], **settings))
    assert not told(lambda: sc.prune(network(), 0, example=X[:1], **settings))


def test_what_gives_no_floats_is_left_alone():
    class Best(nn.Sequential):
        def forward(self, x):
            return super().forward(x).argmax(-1)

    assert not told(lambda: sc.prune(Best(*network()), 0.99, example=X, skip=()))


def test_networks_are_run_on_few_samples_and_keep_their_modes():
    class Counted(nn.Sequential):
        seen = 0

        def forward(self, x):
            type(self).seen += len(x)
            return super().forward(x)

    from secateur.measure.ruin import ruin_of
    one, other = Counted(*network()), Counted(*network(1))
    ruin_of(one, other, Calibration(list(torch.randn(1000, 8).split(100))))
    assert Counted.seen == 2 * 300
    assert one.training and other.training
