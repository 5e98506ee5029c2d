"""Times calls against each other within a budget, and says how far the times can be trusted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from secateur.core import machine

_STEADY = 0.5
"""Times are steady where their median lies at most this fraction above the shortest. Times of the same call differed by
0.1 to 0.3 even with four processes a core."""
_TRIES = 3
"""How often a choice is measured on an equally busy machine before it is taken as it is: some calls are never steady,
and some take longer than the budget."""

_LONG = 0.1
"""Seconds of calls after which an interruption, some milliseconds long, hardly changes the sum."""


@dataclass(frozen=True)
class Conditions:
    """How something was measured: the widest spread of times, the load average, and how often it was measured."""

    spread: float
    load: float
    tries: int = 1

    def wants_another(self) -> bool:
        """Whether to measure again: times were unsteady, or the machine was busy then and is not now."""
        return ((self.spread > _STEADY and self.tries < _TRIES)
                or (machine.is_crowded(self.load) and not machine.is_crowded(machine.load())))

    @property
    def rank(self) -> tuple[bool, float]:
        """Conditions in order, the best first: a quiet machine, then steady times."""
        return machine.is_crowded(self.load), self.spread

    @staticmethod
    def now(spread: float) -> Conditions:
        """Those of what was just measured."""
        return Conditions(spread, machine.load())

    @staticmethod
    def from_json(kept: object) -> Conditions:
        """What ``[spread, load, tries]`` says, as read from a file.

        Raises:
            ValueError: it says something else.
        """
        if not isinstance(kept, list) or len(kept) != 3:
            raise ValueError("three numbers are expected")
        width, load, tries = kept
        if not is_seconds(load) or not is_count(tries) or not (is_seconds(width) or width == math.inf):
            raise ValueError("a number is negative or of another type")
        return Conditions(width, load, tries)

    def to_json(self) -> list[float]:
        """What :meth:`from_json` reads."""
        return [self.spread, self.load, self.tries]


@dataclass(frozen=True)
class Measured:
    """A choice that was made by measuring, and under which conditions."""

    conditions: Conditions = field(default=Conditions(math.inf, 0.0), kw_only=True)


_M = TypeVar("_M", bound=Measured)


def steadier(found: _M, earlier: _M | None) -> _M:
    """The one of two measurements that was made under the better conditions, counted as measured once more."""
    if earlier is None:
        return found
    best = min(found, earlier, key=lambda measured: measured.conditions.rank)
    return replace(best, conditions=replace(best.conditions, tries=earlier.conditions.tries + 1))


def is_count(value: object) -> bool:
    """Whether a value that was read from a file is a whole number, 1 or more."""
    return type(value) is int and value >= 1


def is_seconds(value: object) -> bool:
    """Whether a value that was read from a file is a number of seconds: 0 or more, and less than a lifetime."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9


class Clock:
    """A budget of seconds for measuring; zero means that nothing is measured.

    Args:
        budget: seconds.
        again: how often a contest with unsteady times is held again.
        least: how often a short call is timed even where the budget is spent.
        timer: gives the time in seconds.

    ``spread`` is the widest of all contests so far.
    """

    def __init__(self, budget: float, again: int = 0, least: int = 1,
                 timer: Callable[[], float] = time.perf_counter):
        self.budget, self.again, self.least, self.timer = budget, again, least, timer
        self.spent = self.spread = 0.0

    @property
    def left(self) -> bool:
        """Whether anything may still be measured."""
        return self.spent < self.budget

    @contextmanager
    def spending(self) -> Iterator[None]:
        """What the block takes is taken from the budget."""
        begin = self.timer()
        try:
            yield
        finally:
            self.spent += self.timer() - begin

    def contest(self, *calls: Callable[[], object], min_seconds: float = math.inf,
                rounds: int = 9) -> tuple[float, ...]:
        """The median time of each call in seconds, the calls taken in turn, after a round that is not counted.

        A process that interrupts one call changes no median; turns let a busy machine add to all calls alike. A
        contest ends after ``rounds``, or after three once each call ran for ``min_seconds`` in all. Where the
        budget is spent it ends sooner, but not before every call was timed: ``self.least`` times, or for so long
        that an interruption hardly counts. Where a call's times spread widely, the contest is held again while the
        budget lasts, and the steadiest counts.
        """
        return medians(self.times(*calls, min_seconds=min_seconds, rounds=rounds))

    def times(self, *calls: Callable[[], object], min_seconds: float, rounds: int = 9) -> list[list[float]]:
        """All times that :meth:`contest` takes the medians of, by call."""
        best = self._bout(calls, min_seconds, rounds)
        for _ in range(self.again):
            if widest(best) <= _STEADY or not self.left:
                break
            best = min(best, self._bout(calls, min_seconds, rounds), key=widest)
        self.spread = max(self.spread, widest(best))
        return best

    def _bout(self, calls: tuple[Callable[[], object], ...], min_seconds: float, rounds: int) -> list[list[float]]:
        """The times of each call, without those of the first round."""
        with self.spending():
            begin = self.timer()
            self._round(calls)
            times: list[list[float]] = [[] for _ in calls]
            for turn in range(1, rounds + 1):
                for seconds, found in zip(times, self._round(calls), strict=True):
                    seconds.append(found)
                shortest = min(map(sum, times))
                over = self.spent + self.timer() - begin > self.budget
                if (turn >= 3 and shortest >= min_seconds) or (over and (turn >= self.least or shortest > _LONG)):
                    break
        return times

    def _round(self, calls: tuple[Callable[[], object], ...]) -> list[float]:
        """The seconds of each call, taken once."""
        found = []
        for call in calls:
            start = self.timer()
            call()
            found.append(self.timer() - start)
        return found


def medians(times: list[list[float]]) -> tuple[float, ...]:
    """The median of each call's times."""
    return tuple(float(np.median(seconds)) for seconds in times)


def spread(times: Sequence[float]) -> float:
    """How far the median lies above the shortest, as a fraction of it; infinite for fewer than three times.

    A busy machine only ever adds time. So a median near the shortest is right, however long the others were, and one
    far above it is that of a process that was interrupted.

    >>> spread([2.0, 9.0, 2.0]), spread([2.0, 9.0, 9.0]), spread([2.0, 2.0])
    (0.0, 3.5, inf)
    """
    if len(times) < 3:
        return math.inf
    # A coarse timer gives times of zero.
    middle, shortest = (max(seconds, 1e-9) for seconds in (float(np.median(times)), min(times)))
    return middle / shortest - 1


def widest(times: list[list[float]]) -> float:
    """The widest spread of the times of one call."""
    return max(map(spread, times), default=0.0)
