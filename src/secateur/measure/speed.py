"""Faster, slower or about as fast, by one margin for every sentence that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from secateur.core import text

_MARGIN = 0.03
"""A ratio whose printed digits are no further from 1 is called about as fast."""
_FASTEST = ("sparse", "small")
"""The ways to run a cut network that are made for it: zeros in sparse kernels, fewer neurons as they are."""
PACES = {"faster": "faster", "slower": "slower", "even": "about as fast"}


def pace(ratio: float, low: float | None = None, high: float | None = None) -> str:
    """``faster``, ``slower`` or ``even``, by the two digits of a ratio that a reader sees and by its quartiles.

    A difference is noise, and the pace ``even``, where the quartiles of the rounds (``low``, ``high``) lie on both
    sides of 1.

    >>> pace(0.91), pace(0.974), pace(1.034), pace(1.036)
    ('slower', 'even', 'even', 'faster')
    >>> pace(1.2, 0.9, 1.4), pace(1.2, 1.1, 1.4)
    ('even', 'faster')
    """
    away = round(round(ratio, 2) - 1, 2)
    noise = low is not None and high is not None and low <= 1 <= high
    return "even" if noise or abs(away) <= _MARGIN else "faster" if away > 0 else "slower"


def in_words(speed: Speed, the_speed: bool = False) -> str:
    """A ratio in words, with its quartiles where these leave open which network is faster.

    >>> in_words(Speed(1.0, 0.91, 0.8, 1.1)), in_words(Speed(1.0, 2.0, 1.9, 2.1), True)
    ('0.91×, quartiles 0.80× to 1.10×,', '2.0× the speed')
    """
    ratio = text.times(speed.ratio) + (" the speed" if the_speed else "")
    open_ = pace(speed.ratio) != "even" and speed.low <= 1 <= speed.high
    return ratio + (f", quartiles {text.times(speed.low)} to {text.times(speed.high)}," if open_ else "")


@dataclass(frozen=True)
class Speed:
    """One variant's timing over the seeds: latency in seconds, and how many times faster than the original.

    ``ratio`` is the geometric mean over seeds of the median paired ratio, ``low`` and ``high`` those of
    its quartiles. ``seconds`` is the original's latency over ``ratio``: ratios are timed in interleaved
    rounds and hold where the machine's speed drifts.
    """

    seconds: float
    ratio: float
    low: float
    high: float


def speeds(latency: Mapping[str, Any]) -> dict[str, tuple[float, Speed]]:
    """For each batch size the original's seconds, and the speed of the cut network in the way made for it.

    >>> speeds({"1": {"original": {"median": 4.0}, "small": {"speedup": 2.0, "speedup_low": 1.5, "speedup_high": 2.5}}})
    {'1': (4.0, Speed(seconds=2.0, ratio=2.0, low=1.5, high=2.5))}
    """
    by_batch = {}
    for batch, ways in latency.items():
        fast = next(ways[name] for name in _FASTEST if name in ways)
        original = ways["original"]["median"]
        by_batch[batch] = original, Speed(original / fast["speedup"], fast["speedup"], fast["speedup_low"],
                                          fast["speedup_high"])
    return by_batch
