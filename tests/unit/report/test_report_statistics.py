"""Means and intervals against hand-worked numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from secateur.report import statistics


def test_interval_over_seeds_is_students():
    found = statistics.t_interval([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.high - 2.0 == pytest.approx(4.302653 * 1.0 / math.sqrt(3), rel=1e-6)


def test_loss_of_accuracy_adds_seeds_and_samples_in_squares():
    # Of 100 samples one network loses the first 10, the other the first 11.
    dense, pruned = np.ones((2, 100)), np.array([[0] * 10 + [1] * 90, [0] * 11 + [1] * 89], float)
    found = statistics.loss_of_accuracy(dense.mean(1), pruned.mean(1), dense, pruned)
    seeds = 12.7062047 * 0.01 / math.sqrt(2) / math.sqrt(2)
    samples = 1.96 * math.sqrt((10 * 0.895**2 + 0.395**2 + 89 * 0.105**2) / 99) / math.sqrt(100)
    assert found.mean == pytest.approx(0.105)
    assert found.over == ("seeds", "test samples")
    assert found.high - found.mean == pytest.approx(math.hypot(seeds, samples), rel=1e-6)
    assert found.mean - found.low == pytest.approx(math.hypot(seeds, samples), rel=1e-6)


def test_no_more_can_be_lost_than_there_was_and_no_more_gained_than_the_rest():
    # Two networks of 80 and 90 % lose 40 and 10 points: Student's interval is 25 +- 190 points.
    found = statistics.loss_of_accuracy([0.8, 0.9], [0.4, 0.8], None, None)
    assert (found.mean, found.low, found.high) == pytest.approx((0.25, -0.15, 0.85))
    shares = statistics.t_interval([0.1, 0.9], most=1.0)
    assert (shares.mean, shares.low, shares.high) == pytest.approx((0.5, -1.0, 1.0))
    assert statistics.t_interval([0.5], most=1.0).high == math.inf


def test_one_seed_leaves_the_test_samples():
    dense, pruned = np.ones((1, 16)), np.array([[1, 1, 1, 0] * 4], float)
    found = statistics.loss_of_accuracy([1.0], [0.75], dense, pruned)
    assert found.over == ("test samples",)
    # Of 16 samples 4 are lost: their variance is (12 / 16**2 * 4 + 4 * 9 / 16) / 15 = 0.2.
    assert found.high - found.mean == pytest.approx(1.96 * math.sqrt(0.2) / 4)


def test_without_dense_correctness_the_samples_are_unpaired():
    pruned = np.array([[1, 1, 0, 0] * 10], float)
    found = statistics.loss_of_accuracy([0.9], [0.5], None, pruned)
    assert found.high - found.mean == pytest.approx(1.96 * math.sqrt((0.09 + 0.25) / 40))


def test_nothing_known_gives_no_interval():
    found = statistics.loss_of_accuracy([0.9], [0.5], None, None)
    assert found.mean == pytest.approx(0.4)
    assert found.over == ()
    assert math.isnan(found.low)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("tests", [2, 20, 10_000])
def test_networks_that_agree_on_every_test_sample_may_differ_on_others(seeds, tests):
    same = np.tile(np.arange(tests) % 10 < 9, (seeds, 1)).astype(float)
    found = statistics.loss_of_accuracy(same.mean(1), same.mean(1), same, same)
    assert (found.mean, found.over) == (0.0, ("test samples",))
    # Inputs that make up this fraction of all stay out of the test set with a probability of 2.5 %.
    assert (1 - found.high) ** tests == pytest.approx(0.025) or found.high == same.mean() < 1
    assert found.low == max(-(1 - 0.025 ** (1 / tests)), same.mean() - 1)


def test_an_uncut_network_differs_from_itself_by_exactly_nothing():
    same = np.array([[1, 1, 0, 1]], float)
    found = statistics.loss_of_accuracy([0.75], [0.75], same, same, is_uncut=True)
    assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0)


def test_seeds_that_lose_alike_are_not_sure_where_the_test_set_is_small():
    # Both networks lose 0.1, and Student's interval has no width: 10 of 100 unknown samples show 0.0362 at least.
    found = statistics.loss_of_accuracy([0.9, 0.8], [0.8, 0.7], None, None, tests=100)
    assert (found.low, found.high) == (pytest.approx(0.1 - 0.0362, abs=1e-4), pytest.approx(0.1 + 0.0362, abs=1e-4))
    assert statistics.loss_of_accuracy([0.9, 0.8], [0.8, 0.7], None, None).high == pytest.approx(0.1)


@pytest.mark.parametrize(("positive", "negative", "p"), [(0, 0, 1.0), (9, 0, 2 / 512), (1, 3, 0.625)])
def test_sign_test_counts_coins(positive, negative, p):
    assert statistics.sign_test(positive, negative) == pytest.approx(p)
