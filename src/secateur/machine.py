"""What machine this is: part of every result."""

from __future__ import annotations

import os
import platform
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import torch

from secateur.version import __version__


@lru_cache(maxsize=1)
def machine() -> dict[str, str | int]:
    """CPU, cores, operating system and the versions that matter, as plain data."""
    return {"cpu": cpu_name(), "cores": cores(), "os": platform.platform(),
            "instructions": torch.backends.cpu.get_cpu_capability(), "python": platform.python_version(),
            "torch": torch.__version__, "numpy": metadata.version("numpy"), "secateur": __version__}


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's name, as the operating system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Hardware"))]
    return next((n for n in names if n), platform.processor() or platform.machine())
