"""Honest timing: every variant in every round, in changing order, so that ratios hold on a noisy machine."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import numpy as np
import torch

LEAST_ROUNDS, MOST_ROUNDS = 5, 101
"""Quartiles need a few rounds; beyond a hundred they hardly move."""
BLOCK_SECONDS, BLOCK_CALLS = 0.001, 10
"""Short calls are repeated, because the clock's own delay is of the size of a single one."""


def interleave(calls: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, list[float]]:
    """Time calls against each other.

    Each round runs every call once untimed, then as often as fills about a millisecond, and keeps
    the median. Rounds go on, in an order shuffled anew, until ``seconds`` are spent, at least
    five and at most 101.

    Returns:
        For each name one time in seconds a round; round ``i`` of every name belongs together.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    order, shuffle = list(calls), random.Random(0).shuffle
    end = perf_counter() + seconds
    while len(times[order[0]]) < MOST_ROUNDS and (len(times[order[0]]) < LEAST_ROUNDS or perf_counter() < end):
        shuffle(order)
        round_times = {name: _block(calls[name]) for name in order}
        for name, value in round_times.items():
            times[name].append(value)
    return times


def _block(call: Callable[[], Any]) -> float:
    """One untimed call, then the median of as many as fill a millisecond, at most ten."""
    start = perf_counter()
    call()
    spent, values = perf_counter() - start, []
    for _ in range(max(1, min(BLOCK_CALLS, int(BLOCK_SECONDS / max(spent, 1e-9))))):
        start = perf_counter()
        call()
        values.append(perf_counter() - start)
    return float(np.median(values))


def samples(call: Callable[[], Any], seconds: float) -> list[float]:
    """The times, in seconds, of the calls that fit into ``seconds``, at least one, after one that does not count."""
    call()
    times: list[float] = []
    end = perf_counter() + seconds
    while not times or perf_counter() < end:
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return times


def summary(times: Mapping[str, list[float]], base: str = "original") -> dict[str, dict[str, float]]:
    """Median and quartiles in seconds of every variant, and how many times faster than ``base`` it is.

    The speed-up is the median, with quartiles, over the rounds' own ratios.

    >>> summary({"original": [2.0, 4.0, 6.0], "small": [1.0, 2.0, 3.0]})["small"]["speedup"]
    2.0
    """
    return {name: {**_quartiles(values, ""), **(_quartiles(np.divide(times[base], values), "speedup")
                                                if name != base else {})}
            for name, values in times.items()}


def _quartiles(values: Any, prefix: str) -> dict[str, float]:
    low, middle, high = (float(v) for v in np.percentile(values, [25, 50, 75]))
    names = (f"{prefix}_low", prefix, f"{prefix}_high") if prefix else ("low", "median", "high")
    return dict(zip(names, (low, middle, high), strict=True))


@contextmanager
def torch_threads(count: int) -> Iterator[int]:
    """Run a block with ``count`` torch threads (0: as it is), and give back how many it has."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
