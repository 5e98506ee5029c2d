"""How long a study is going to take, from what such steps took before and what they take now."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from secateur.core.progress import Progress
from secateur.experiment.store import Store

_NAME = "seconds"
TYPICAL = {"train": 0.01, "scan": 4.0, "measure": 0.3, "recover": 3.0, "time": 2.0}
"""Seconds of a step of each kind where the default network is studied on two cores. Only their ratios count, and only
until a step of the kind was clocked: in training one step of the optimizer, in timing one network at all batch sizes.
"""
_OFTEN = 1.0
"""Seconds between two estimates."""


class Pace:
    """Clocks the steps of a study and tells how long the rest will take.

    Args:
        store: keeps the seconds for the studies that follow in the same folder.
        progress: hears of the estimate.
        ahead: how many steps of each kind every stage has.
        clock: gives seconds.
    """

    def __init__(self, store: Store, progress: Progress, ahead: Sequence[Mapping[str, int]],
                 clock: Callable[[], float] = time.monotonic):
        self.store, self.progress, self._clock = store, progress, clock
        self._ahead = [Counter(work) for work in ahead]
        self._earlier = _earlier(store)
        self._counts, self._seconds = Counter[str](), defaultdict[str, float](float)
        self._last = self._told = clock()
        self._stage = 0

    def begin(self, stage: int, work: Mapping[str, int]) -> None:
        """A stage begins, with the steps that it really has."""
        self._stage, self._ahead[stage], self._last = stage, Counter(work), self._clock()

    def step(self, kind: str) -> None:
        """A step of a kind is done."""
        now, ahead = self._clock(), self._ahead[self._stage]
        self._counts[kind] += 1
        self._seconds[kind] += now - self._last
        ahead[kind] = max(0, ahead[kind] - 1)
        self._last = now
        if now - self._told >= _OFTEN and (seconds := self.left()) is not None:
            self._told = now
            self.progress.left(seconds)

    def end(self) -> None:
        """A stage is done: what it took is kept."""
        self._ahead[self._stage].clear()
        clocked = {kind: [count, self._seconds[kind]] for kind, count in self._counts.items()}
        if clocked:
            self.store.set_meta(_NAME, self._earlier | clocked)

    def left(self) -> float | None:
        """The seconds that all steps ahead are expected to take; None before any was ever clocked."""
        ahead = sum(self._ahead, Counter[str]())
        means = {kind: self._mean(kind) for kind in TYPICAL}
        known = {kind: mean for kind, mean in means.items() if mean is not None}
        if ahead and not known:
            return None
        scale = sum(known.values()) / sum(TYPICAL[kind] for kind in known) if known else 1.0
        return sum(count * known.get(kind, scale * TYPICAL[kind]) for kind, count in ahead.items())

    def _mean(self, kind: str) -> float | None:
        """What a step of a kind takes: in this study, else in those before it in this folder."""
        count, seconds = (self._counts[kind], self._seconds[kind]) if self._counts[kind] else (
            self._earlier.get(kind, (0, 0.0)))
        return seconds / count if count else None


def _earlier(store: Store) -> dict[str, Any]:
    """The counts and seconds of steps of earlier studies; nothing where what is kept is no such thing."""
    found = store.meta(_NAME)
    if not isinstance(found, dict):
        return {}
    return {kind: value for kind, value in found.items() if kind in TYPICAL and isinstance(value, list)
            and len(value) == 2 and all(type(one) in (int, float) and one >= 0 for one in value)}
