"""When a timing cannot be trusted: one definition for rows, tables, figures, sentences and verdicts.

A timing is plain data: ``latency`` (see :func:`secateur.measure.latency.summary`, by batch size as text),
``conditions`` (by batch: ``rounds``, and ``load``, the CPU seconds that other processes took of each core and second
meanwhile, None where the system does not tell) and ``work_ratio`` (how many times more FLOPs or bytes the original has,
whichever is more; None where that is not known).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from secateur.core import text

LOAD = 0.1
"""The part of each core that others may take. A tenth of two cores disturbs a fifth of the rounds at most, so that the
median and both quartiles are still those of undisturbed rounds."""
SPREAD = 0.25
"""The distance between the quartiles of a network's times, over their median. Two networks whose middle halves lie
within an eighth of their medians have ratios within a factor of 1.3."""
ROOM = 4.0
"""How many times more than the work saved a cut may buy. What a smaller network wins beside its work is a cache that is
faster by two to four, and vectors that fit."""
OVERHEAD = 25.0
"""How many times faster a call may get whatever its work is. torch spends some microseconds on every operator, compiled
kernels one on the whole call; a ratio of sums lies between the ratios of its parts, so this adds nothing to ROOM."""
AGAIN = 0.5
"""Noisy timings are measured again for at most this part of the time that the timings took."""
MARK = "?"
"""What stands behind a ratio that is noisy, wherever it is shown."""
LEGEND = f"{MARK}: a noisy timing, not to be relied on; run the same command again to repeat it"
UNKNOWN = "the machine's load was not recorded when it was timed"


@dataclass(frozen=True)
class Noise:
    """How far a timing is from what is allowed: ``level`` over 1 is noisy, and ``reason`` says why, in words."""

    level: float
    reason: str

    @property
    def is_noisy(self) -> bool:
        """Whether the timing is not to be relied on."""
        return not self.level <= 1


def noise(timing: Mapping[str, Any], batch: str) -> Noise:
    """How noisy the timing at a batch size is: the worst of its causes, each relative to its bound.

    >>> quiet = {"median": 1.0, "low": 0.95, "high": 1.05}
    >>> timing = {"latency": {"1": {"original": quiet, "small": quiet | {"speedup": 2.0}}},
    ...           "conditions": {"1": {"load": 0.3, "rounds": 50}}, "work_ratio": 2.0}
    >>> noise(timing, "1")
    Noise(level=3.0, reason='other processes used 30% of each core')
    """
    conditions = (timing.get("conditions") or {}).get(batch)
    if conditions is None:
        return Noise(math.inf, UNKNOWN)
    return max(_causes(timing["latency"][batch], conditions["load"], timing.get("work_ratio")),
               key=lambda cause: math.inf if math.isnan(cause.level) else cause.level)


def load_text(load: float) -> str:
    """How much of the machine other processes took.

    >>> load_text(0.3)
    'other processes used 30% of each core'
    """
    return f"other processes used {text.percent(load, 0)} of each core"


def busy(load: float | None) -> tuple[str, ...]:
    """A note on timings of which only the load of the machine is known, where that is too high; else nothing.

    >>> busy(0.05), busy(None)
    ((), ())
    """
    if load is None or load <= LOAD:
        return ()
    return (f"the machine was busy: {load_text(load)}; times and ratios are rough, time again when it is quiet",)


def _causes(ways: Mapping[str, Mapping[str, float]], load: float | None, work_ratio: float | None) -> Iterator[Noise]:
    """Every cause of noise with its level."""
    if load is not None:
        yield Noise(round(load / LOAD, 9), load_text(load))
    for way, times in ways.items():
        width = (times["high"] - times["low"]) / times["median"] if times["median"] > 0 else math.inf
        whose = "the original's times" if way == "original" else "its times"
        yield Noise(width / SPREAD, f"{whose} differ by {text.percent(width, 0)} between their quartiles")
    most = most_times(work_ratio)
    for way, times in ways.items():
        if way != "original" and not times["speedup"] <= most:
            yield Noise(times["speedup"] / most, f"{text.times(times['speedup'])} is more than the removed work "
                                                 f"allows (at most {text.times(most)})")


def most_times(work_ratio: float | None) -> float:
    """The greatest speed-up that FLOPs and bytes allow, with room; infinite where they are not known.

    >>> most_times(2.0), most_times(100.0), most_times(None)
    (25.0, 400.0, inf)
    """
    return math.inf if work_ratio is None else max(OVERHEAD, ROOM * work_ratio)


def noisy_batches(timing: Mapping[str, Any]) -> tuple[int, ...]:
    """The batch sizes at which a timing is noisy."""
    return tuple(int(batch) for batch in timing["latency"] if noise(timing, batch).is_noisy)


def steadier(found: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """An earlier timing in which every batch that was timed with less noise since is replaced."""
    better = [b for b in found["latency"] if b not in earlier["latency"]
              or noise(found, b).level < noise(earlier, b).level]
    if not better:
        return dict(earlier)
    joined = {name: {**(earlier.get(name) or {}), **{b: found[name][b] for b in better}}
              for name in ("latency", "conditions")}
    order = sorted(joined["latency"], key=int)
    errors = [e for e in (found.get("sparse_error"), earlier.get("sparse_error")) if e is not None]
    return {**found, **joined, "latency": {b: joined["latency"][b] for b in order},
            **({"sparse_error": max(errors)} if errors else {})}
