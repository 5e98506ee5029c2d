"""What a test set is too small to show: intervals of 95 % for what was measured on samples."""

from __future__ import annotations

from math import sqrt

_MISSED = 0.025
"""How probable it is at most that the samples miss what they are said to show: half of 5 %, as intervals have two ends.
"""
_WIDE = 1.959963984540054
"""So many standard deviations to both sides hold 95 % of a normal distribution."""


def unseen(tests: int) -> float:
    """The largest fraction of all inputs that may behave in a way that none of the test samples shows.

    Inputs of this fraction or more would show among ``tests`` samples with a probability of at least 97.5 % (the exact
    binomial bound of Clopper and Pearson, 1934, for no case among ``tests``): about 3.7 samples' worth.

    Args:
        tests: the number of test samples, 1 or more.

    >>> round(unseen(100), 4), round(unseen(10_000), 6)
    (0.0362, 0.000369)
    """
    return float(1 - _MISSED ** (1 / tests))


def paired_interval(lost: int, won: int, count: int) -> tuple[float, float]:
    """The interval for the accuracy that is lost, a fraction, where two networks are tested on the same samples.

    The samples that both networks get right, or both wrong, do not tell them apart (Agresti and Min, *Simple improved
    confidence intervals for comparing matched proportions*, 2005: half a sample is added to each of the four cells).

    Args:
        lost: how many samples the first alone gets right.
        won: how many the second alone.
        count: how many samples there are.

    >>> [round(end, 4) for end in paired_interval(0, 0, 998)], [round(end, 4) for end in paired_interval(9, 1, 100)]
    ([-0.002, 0.002], [0.0165, 0.1403])
    """
    lost_more, won_more, more = lost + 0.5, won + 0.5, count + 2
    middle = (lost_more - won_more) / more
    half = _WIDE * sqrt(max(0.0, (lost_more + won_more) / more - middle**2) / more)
    return max(-1.0, middle - half), min(1.0, middle + half)


def share_interval(hits: int, count: int) -> tuple[float, float]:
    """The interval for a fraction (Wilson, 1927).

    >>> [round(end, 4) for end in share_interval(5, 10)], [round(end, 4) for end in share_interval(10, 10)]
    ([0.2366, 0.7634], [0.7225, 1.0])
    """
    square = _WIDE**2
    middle = (hits + square / 2) / (count + square)
    half = _WIDE * sqrt(hits * (count - hits) / count + square / 4) / (count + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(mean: float, deviation: float, count: int) -> tuple[float, float]:
    """The interval for a mean of values with a standard deviation, by the normal distribution.

    >>> [round(end, 3) for end in mean_interval(0.5, 0.1, 100)]
    [0.48, 0.52]
    """
    half = _WIDE * deviation / sqrt(count)
    return mean - half, mean + half
