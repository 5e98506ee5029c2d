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
    dense = np.array([[1, 1, 1, 1], [1, 1, 1, 0]], float)
    pruned = np.array([[1, 1, 0, 0], [1, 1, 1, 0]], float)
    found = statistics.loss_of_accuracy(dense.mean(1), pruned.mean(1), dense, pruned)
    seeds = 12.7062047 * math.sqrt(0.125) / math.sqrt(2)
    samples = 1.96 * math.sqrt((2 * 0.25**2 + 2 * 0.25**2) / 3) / math.sqrt(4)
    assert found.mean == 0.25
    assert found.over == ("seeds", "test samples")
    assert found.high - found.mean == pytest.approx(math.hypot(seeds, samples), rel=1e-6)


def test_one_seed_leaves_the_test_samples():
    dense, pruned = np.ones((1, 4)), np.array([[1, 1, 1, 0]], float)
    found = statistics.loss_of_accuracy([1.0], [0.75], dense, pruned)
    assert found.over == ("test samples",)
    assert found.high - found.mean == pytest.approx(1.96 * 0.5 / 2)


def test_without_dense_correctness_the_samples_are_unpaired():
    pruned = np.array([[1, 1, 0, 0]], float)
    found = statistics.loss_of_accuracy([0.9], [0.5], None, pruned)
    assert found.high - found.mean == pytest.approx(1.96 * math.sqrt((0.09 + 0.25) / 4))


def test_nothing_known_gives_no_interval():
    found = statistics.loss_of_accuracy([0.9], [0.5], None, None)
    assert found.mean == pytest.approx(0.4)
    assert found.over == ()
    assert math.isnan(found.low)


@pytest.mark.parametrize(("positive", "negative", "p"), [(0, 0, 1.0), (9, 0, 2 / 512), (1, 3, 0.625)])
def test_sign_test_counts_coins(positive, negative, p):
    assert statistics.sign_test(positive, negative) == pytest.approx(p)
