"""Anatomies worked out by hand."""

from __future__ import annotations

import json

import pytest
import torch

from secateur.core.errors import SecateurError
from secateur.experiment.weight_statistics import LARGE, THRESHOLDS, distribution, weight_statistics


def test_distribution_of_four_numbers():
    d = distribution(torch.tensor([0.0, 1.0, 2.0, 5.0]))
    assert (d["count"], d["mean"], d["max"]) == (4, 2.0, 5.0)
    assert d["cv"] == pytest.approx((3.5**0.5) / 2)
    assert d["gini"] == pytest.approx((-3 * 0 - 1 + 2 + 15) / (4 * 8))
    assert d["by_max"]["below"] == [0.25, 0.25, 0.25, 0.5, 0.75]
    assert d["by_mean"]["quantiles"][-1] == 2.5


def test_shares_of_a_histogram_add_up():
    d = distribution(torch.rand(1000) ** 3)
    for scale in ("by_max", "by_mean"):
        assert sum(d[scale]["shares"]) + d[scale]["beyond"] == pytest.approx(1.0, abs=1e-6)


def test_large_weights_fall_with_the_neurons_that_hold_them():
    weight = torch.ones(10, 10)
    weight[0] = torch.tensor([-5.0] * 5 + [0.0] * 5)
    weight[1, 0], weight[2:7, 1] = 0.1, 4.0
    layer = weight_statistics({"a": weight}, [0.0, 0.1, 0.5, 0.99])["layers"][0]
    assert layer["even"] == [0.0, 0.1, 0.5, 0.9]
    assert layer["fallen"] == pytest.approx([0.0, 0.0, 0.1, 0.5])


def test_all_zero_weights_lie_under_every_threshold():
    layer = weight_statistics({"a": torch.zeros(3, 4)}, [0.5])["layers"][0]
    assert layer["weight"]["by_mean"]["below"] == [1.0] * len(THRESHOLDS)
    assert layer["weight"]["cv"] == layer["neuron"]["gini"] == 0.0


def test_convolutions_and_json():
    found = weight_statistics({"conv": torch.randn(4, 3, 3, 3)}, [0.0, 0.5])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["layers"][0]["neuron"]["count"] == 4
    assert found["large"] == LARGE


@pytest.mark.parametrize(("weight", "told"), [(torch.ones(3), "needs"), (torch.empty(0, 3), "needs"),
                                              (torch.full((2, 2), float("nan")), "4 of 4 weights are not finite")])
def test_what_cannot_be_described_is_refused(weight, told):
    with pytest.raises(SecateurError, match=told):
        weight_statistics({"a": weight}, [0.5])
