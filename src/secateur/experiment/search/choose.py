"""Which sparsity is tried next, and which candidate wins: pure functions of what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from secateur.core.choices import Goal
from secateur.experiment.search.candidate import Tried
from secateur.measure.speed import pace


def last_within(count: int, is_within: Callable[[int], bool], known: dict[int, bool]) -> None:
    """Find the last place of a grid that is within the limit, by halving: what is lost grows along it.

    Args:
        count: the length of the grid.
        is_within: measures a place.
        known: the places that were measured before; what is measured here is added.

    >>> known = {}
    >>> last_within(8, lambda place: place <= 4, known)
    >>> known
    {3: True, 5: False, 4: True}
    """
    while True:
        low = max((place for place, within in known.items() if within), default=-1)
        high = min((place for place, within in known.items() if not within and place > low), default=count)
        if high - low <= 1:
            return
        middle = (low + high) // 2
        known[middle] = is_within(middle)


def steps(count: int) -> int:
    """How many places :func:`last_within` measures at most.

    >>> steps(0), steps(1), steps(8)
    (0, 1, 4)
    """
    return count.bit_length()


def winner(tried: Iterable[Tried], goal: Goal) -> Tried:
    """The candidate within the limit with the smallest file, or the one that is fastest.

    Of equally small ones the least cut is taken, and of those that are about as fast as the fastest: a cut that buys
    nothing is not made. What was not timed cannot win on speed.
    """
    within = [one for one in tried if one.is_within]
    if goal == "size":
        return min(within, key=lambda one: (one.bytes, *_effort(one)))
    return min(_as_fast(within), key=_effort)


def _as_fast(within: Sequence[Tried]) -> list[Tried]:
    """The fastest, and those that a reader would call as fast."""
    timed = {one: one.speed for one in within if one.speed is not None}
    best = max(timed.values(), key=lambda speed: speed.ratio)
    return [one for one, speed in timed.items()
            if pace(best.ratio / speed.ratio) == "even" or best.low <= speed.ratio <= best.ratio]


def _effort(one: Tried) -> tuple[float, int]:
    """How much was done to a network: what was cut counts before bits."""
    return one.candidate.sparsity, -one.candidate.bits
