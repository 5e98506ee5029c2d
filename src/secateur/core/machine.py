"""The machine, which is part of every result."""

from __future__ import annotations

import os
import platform
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import torch

from secateur.core.version import __version__

CROWD = 0.5
"""Times are called rough where the load average exceeds the cores by more: half a core is daily noise."""


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
            "are rough, time again when it is quiet",)


def load() -> float:
    """How many processes wanted to run in the last minute, on average; 0 where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def is_crowded(load: float) -> bool:
    """Whether so many processes wanted to run that times are rough."""
    return load - cores() > CROWD


def _cpu_name() -> str:
    """The processor's name, as the operating system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Hardware"))]
    return next((n for n in names if n), platform.processor() or platform.machine())
