"""Means and intervals: over seeds, over test samples, and over both at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

from secateur.core.optional import need
from secateur.measure.chance import unseen

_NORMAL_95 = 1.96


@dataclass(frozen=True)
class Spread:
    """The mean of some values with the lowest and the highest of them."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Interval:
    """A mean with a 95 % interval; ``over`` says what was drawn at random (``seeds``, ``test samples``)."""

    mean: float
    low: float
    high: float
    over: tuple[str, ...]


def spread(values: Sequence[float]) -> Spread:
    """Mean, lowest and highest.

    >>> spread([1.0, 2.0, 6.0])
    Spread(mean=3.0, low=1.0, high=6.0)
    """
    return Spread(fmean(values), min(values), max(values))


def t_interval(values: Sequence[float], over: str = "seeds", most: float = math.inf) -> Interval:
    """The mean of the values with Student's 95 % interval, infinitely wide for one value.

    ``most`` is the greatest size that the mean can have: an interval ends there.

    >>> i = t_interval([1.0, 2.0, 3.0])
    >>> round(i.mean, 3), round(i.low, 3), round(i.high, 3)
    (2.0, -0.484, 4.484)
    """
    mean, half = fmean(values), _t_half(values)
    if math.isfinite(half):
        return Interval(mean, max(mean - half, -most), min(mean + half, most), (over,))
    return Interval(mean, -half, half, (over,))


def _t_half(values: Sequence[float]) -> float:
    """The half-width of Student's 95 % interval of the mean; infinite for one value."""
    if len(values) < 2:
        return math.inf
    # scipy.stats gives the same, and takes seconds to import
    quantile = float(need("scipy.special").stdtrit(len(values) - 1, 0.975))
    return quantile * stdev(values) / math.sqrt(len(values))


def loss_of_accuracy(dense: Sequence[float], pruned: Sequence[float], dense_correct: NDArray[np.float64] | None,
                     pruned_correct: NDArray[np.float64] | None, tests: int = 0, is_uncut: bool = False) -> Interval:
    """How much accuracy a cut costs, with a 95 % interval over seeds and test samples.

    Two things are drawn at random: the seeds (k networks) and the n test samples. With d_j the loss of
    accuracy of seed j and s its standard deviation, and with D_i the correctness of the dense network
    on test sample i less that of the pruned one, averaged over the seeds, the half-width is
    sqrt((t * s / sqrt(k))^2 + (1.96 * sd(D) / sqrt(n))^2), t being Student's 0.975 quantile for k - 1
    degrees of freedom. Pairing matters: dense and pruned networks fail on mostly the same samples.

    It is never less than :func:`secateur.measure.chance.unseen`: networks that agree on all test samples may differ on
    others.

    Args:
        dense: accuracy of the uncut network, one a seed.
        pruned: accuracy after the cut, of the same seeds in the same order.
        dense_correct, pruned_correct: correctness of each test sample, ``(seeds, samples)`` of 0 and 1.
            Without the first, the samples' part is taken unpaired from both accuracies (wider); without
            both it is left out.
        tests: the number of test samples, where their correctness is not known; 0: it is not known either.
        is_uncut: whether nothing is cut: a network differs from itself by exactly 0, on all inputs.

    Returns:
        The mean of dense less pruned. With one seed, and where the number of test samples decides the width, the
        interval is over test samples only. It ends where accuracies do: no more can be lost than there was, and no
        more gained than the rest.
    """
    differences = [a - b for a, b in zip(dense, pruned, strict=True)]
    halves = {"seeds": _t_half(differences), "test samples": _sample_half(dense, dense_correct, pruned_correct)}
    finite = {name: half for name, half in halves.items() if math.isfinite(half)}
    mean, half, over = fmean(differences), math.hypot(*finite.values()) if finite else math.nan, tuple(finite)
    tests = tests if pruned_correct is None else pruned_correct.shape[1]
    if tests and not is_uncut and half < unseen(tests):
        half, over = unseen(tests), ("test samples",)
    whole = fmean(dense)
    return Interval(mean, max(mean - half, whole - 1), min(mean + half, whole), over)


def _sample_half(dense: Sequence[float], dense_correct: NDArray[np.float64] | None,
                 pruned_correct: NDArray[np.float64] | None) -> float:
    """The half-width that the test samples give; infinite where their correctness is not known."""
    if pruned_correct is None or pruned_correct.shape[1] < 2:
        return math.inf
    n = pruned_correct.shape[1]
    if dense_correct is not None:
        return _NORMAL_95 * float((dense_correct - pruned_correct).mean(axis=0).std(ddof=1)) / math.sqrt(n)
    p, q = float(np.mean(dense)), float(pruned_correct.mean())
    return _NORMAL_95 * math.sqrt((p * (1 - p) + q * (1 - q)) / n)


def sign_test(positive: int, negative: int) -> float:
    """The two-sided exact p-value of the sign test: a fair coin falling at least as unevenly.

    >>> sign_test(4, 0), sign_test(2, 2)
    (0.125, 1.0)
    """
    if positive == negative:
        return 1.0
    return 2 * float(need("scipy.special").bdtr(min(positive, negative), positive + negative, 0.5))
