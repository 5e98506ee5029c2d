"""The memory that this process holds, as Linux counts it."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from pathlib import Path


def held() -> int | None:
    """The memory that is resident now, in bytes; None where the system does not tell."""
    return _status("VmRSS")


def peak() -> int | None:
    """The most memory that was resident since :func:`reset_peak`, in bytes; None where the system does not tell."""
    return _status("VmHWM")


def reset_peak() -> int | None:
    """Start measuring the peak anew; gives the memory that is resident now."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak()


def trim() -> None:
    """Give freed memory back to the system, so that what is resident is what is used."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _status(field: str) -> int | None:
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return int(text.split(f"{field}:")[1].split()[0]) * 1024
