"""The machine, which is part of every result."""

from __future__ import annotations

import os
import platform
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from time import perf_counter, process_time

import torch

from secateur.core.version import __version__

CROWD = 0.5
"""Times are called rough where the load average exceeds the cores by more: half a core is daily noise."""

_COUNTERS = Path("/proc/stat")
"""Where Linux counts what each core did. Other systems do not tell without further packages."""
_SHORT = 0.05
"""Seconds of work that the system's counters, which count hundredths, may not show yet."""
_WORKING = (0, 1, 2, 5, 6, 7)
"""The columns of a core's line that are work: user, nice, system, interrupts, and what other virtual machines took."""


@lru_cache(maxsize=1)
def machine() -> dict[str, str | int]:
    """CPU, cores, operating system and the versions that matter, as plain data."""
    return {"cpu": _cpu_name(), "cores": cores(), "os": platform.platform(),
            "instructions": torch.backends.cpu.get_cpu_capability(), "python": platform.python_version(),
            "torch": torch.__version__, "numpy": metadata.version("numpy"), "secateur": __version__}


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy() -> tuple[str, ...]:
    """A note where more processes than cores wanted to run in the last minute; else nothing.

    The load of this process itself is at most one a core.
    """
    if not is_crowded(now := load()):
        return ()
    return (f"the machine was busy when timing began (load average {now:.1f} on {cores()} cores): times and ratios "
            "are rough; time again when it is quiet",)


def load() -> float:
    """How many processes wanted to run in the last minute, on average; 0 where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def is_crowded(load: float) -> bool:
    """Whether so many processes wanted to run that times are rough."""
    return load - cores() > CROWD


class OthersLoad:
    """How much of this process's cores other processes take, from its making on."""

    def __init__(self) -> None:
        self._start = self._now()

    def measure(self) -> float | None:
        """CPU seconds that others took of each core and second, 0 to 1; None where the system does not tell."""
        (wall, own, all_work), (began, own_before, before) = self._now(), self._start
        if all_work is None or before is None or wall <= began:
            return None
        mine, worked = own - own_before, all_work - before
        if worked < mine / 2 - _SHORT:
            return None  # The counters are not those of the cores that this process runs on.
        return min(1.0, max(0.0, worked - mine) / (wall - began) / cores())

    @staticmethod
    def _now() -> tuple[float, float, float | None]:
        """The clock, this process's CPU seconds, and those of its cores."""
        return perf_counter(), process_time(), _core_seconds()


def _core_seconds() -> float | None:
    """The seconds that the cores of this process have worked since the system started."""
    try:
        lines = [line.split() for line in _COUNTERS.read_text().splitlines() if line.startswith("cpu")]
        mine = {f"cpu{n}" for n in os.sched_getaffinity(0)}
        ticks = [sum(int(line[1:][i]) for i in _WORKING) for line in lines if line[0] in mine]
        return sum(ticks) / os.sysconf("SC_CLK_TCK") if ticks else None
    except (OSError, AttributeError, ValueError, IndexError):
        return None


def _cpu_name() -> str:
    """The processor's name, as the operating system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Hardware"))]
    return next((n for n in names if n), platform.processor() or platform.machine())
