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
"""Calls of milliseconds are timed again where the load average exceeds the cores by more: half a core is daily noise.
What takes longer is judged by :class:`OthersLoad` and :mod:`secateur.measure.noise`, whose counters count hundredths of
a second."""

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


def load() -> float:
    """How many processes wanted to run in the last minute, on average; 0 where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def is_crowded(load: float) -> bool:
    """Whether so many processes wanted to run that times are rough."""
    return load - cores() > CROWD


class OthersLoad:
    """How much of this process's cores other processes take, from its making on.

    ``with_children`` counts the processes that it starts and that end meanwhile as its own.
    """

    def __init__(self, with_children: bool = False) -> None:
        self._with_children = with_children
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

    def _now(self) -> tuple[float, float, float | None]:
        """The clock, this process's CPU seconds, and those of its cores."""
        children = os.times() if self._with_children else None
        own = process_time() + (children.children_user + children.children_system if children else 0.0)
        return perf_counter(), own, _core_seconds()


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
