"""The memory that this process uses, as Linux counts it."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from pathlib import Path


def resident() -> int | None:
    """The memory that is resident now, in bytes; None where the system does not report it."""
    return _status("VmRSS")


def peak() -> int | None:
    """The largest memory resident since :func:`reset_peak`, in bytes; None where the system does not report it."""
    return _status("VmHWM")


def reset_peak() -> int | None:
    """Start to measure the peak again; returns the memory that is resident now, in bytes."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # 5 resets VmHWM
    return peak()


def trim() -> None:
    """Return freed memory to the system, so that only memory in use is resident."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _status(field: str) -> int | None:
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return int(text.split(f"{field}:")[1].split()[0]) * 1024
