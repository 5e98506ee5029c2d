"""Faster, slower or about as fast, by one margin for every sentence that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import Any

from secateur.core import text
from secateur.measure.noise import MARK, noise

_MARGIN = 0.03
"""A ratio whose printed digits are no further from 1 is called about as fast."""
_FASTEST = ("sparse", "small", "int8", "bf16")
"""The ways to run a network that are made for it: zeros in sparse kernels, fewer neurons as they are, fewer bits in an
engine for them."""
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
    rounds and hold where the machine's speed drifts. ``noise`` says why the timing is not to be relied on;
    it is empty where it is.
    """

    seconds: float
    ratio: float
    low: float
    high: float
    noise: str = ""

    @property
    def pace(self) -> str:
        """``faster``, ``slower`` or ``even``; ``noisy`` where the timing is not to be relied on."""
        return "noisy" if self.noise else pace(self.ratio, self.low, self.high)

    @property
    def shown(self) -> str:
        """The ratio as tables show it, marked where it is noisy.

        >>> Speed(1.0, 2.0, 1.9, 2.1).shown, Speed(1.0, 2.0, 1.9, 2.1, "the machine was busy").shown
        ('2.0×', '2.0×?')
        """
        return text.times(self.ratio) + MARK * bool(self.noise)


def speeds(timing: Mapping[str, Any]) -> dict[str, tuple[float, Speed]]:
    """For each batch size of a timing the original's seconds, and the speed in the way made for the cut network.

    >>> quiet, ratios = {"median": 4.0, "low": 4.0, "high": 4.0}, {"speedup_low": 1.5, "speedup_high": 2.5}
    >>> speeds({"latency": {"1": {"original": quiet, "small": quiet | ratios | {"speedup": 2.0}}},
    ...         "conditions": {"1": {"load": 0.0, "rounds": 9}}})
    {'1': (4.0, Speed(seconds=2.0, ratio=2.0, low=1.5, high=2.5, noise=''))}
    """
    by_batch = {}
    for batch, ways in timing["latency"].items():
        way = next(name for name in _FASTEST if name in ways)
        by_batch[batch] = ways["original"]["median"], speed_of(timing, batch, way)
    return by_batch


def speed_of(timing: Mapping[str, Any], batch: str, way: str) -> Speed:
    """The speed at a batch size in one way to run the cut network."""
    ways, found = timing["latency"][batch], noise(timing, batch)
    ratio, low, high = (ways[way][name] for name in ("speedup", "speedup_low", "speedup_high"))
    return Speed(ways["original"]["median"] / ratio, ratio, low, high, found.reason if found.is_noisy else "")


def doubts(latency: Mapping[str, tuple[float, Speed]]) -> list[str]:
    """Why the speed at a batch size is not known, a sentence each.

    >>> doubts({"8": (4.0, Speed(2.0, 2.0, 1.9, 2.1, "other processes used 30% of each core"))})
    ['the timing at batch 8 is noisy and not to be relied on: other processes used 30% of each core']
    """
    return [f"the timing at batch {batch} is noisy and not to be relied on: {speed.noise}"
            for batch, (_, speed) in latency.items() if speed.noise]


def mean_speed(found: Sequence[Speed], original: float) -> Speed:
    """The geometric means over the seeds; seeds with noisy timings count only where all are noisy.

    Args:
        found: one value a seed, at least one.
        original: the original's seconds.

    >>> mean_speed([Speed(1.0, 2.0, 2.0, 2.0), Speed(1.0, 8.0, 8.0, 8.0), Speed(1.0, 99.0, 9.0, 999.0, "noisy")], 8.0)
    Speed(seconds=2.0, ratio=4.0, low=4.0, high=4.0, noise='')
    """
    used = [speed for speed in found if not speed.noise] or found
    ratio, low, high = (geometric_mean(getattr(speed, name) for speed in used) for name in ("ratio", "low", "high"))
    return Speed(original / ratio, ratio, low, high, used[0].noise)
