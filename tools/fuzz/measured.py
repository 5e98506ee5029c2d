"""What a task takes in a process of its own: processor seconds, and memory beyond what the process held before."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

HANGS = 120.0
"""Seconds after which a task counts as one that never ends."""
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Taken(NamedTuple):
    """What became of a task, its processor seconds, and the bytes by which its process grew at most."""

    result: str
    seconds: float
    grown: int


def measure(task: Callable[[], str], after: Callable[[], object] = lambda: None) -> Taken:
    """Run a task in a forked process; ``after`` is run behind it, its seconds count and its memory does not.

    Raises:
        RuntimeError: the process was killed, never ended, or raised an error.
    """
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        os.close(reader)
        _child(task, after, writer)
    os.close(writer)
    try:
        with os.fdopen(reader) as told:
            if not select.select([reader], [], [], HANGS)[0]:
                os.kill(pid, signal.SIGKILL)
                raise RuntimeError(f"it did not end within {HANGS:.0f} seconds")
            text = told.read()
    finally:
        status = os.waitpid(pid, 0)[1]
    if status or not text:
        raise RuntimeError(f"the process ended with status {status}")
    found = json.loads(text)
    if "error" in found:
        raise RuntimeError(found["error"])
    return Taken(**found)


def _child(task: Callable[[], str], after: Callable[[], object], writer: int) -> None:
    """The task, told through a pipe; the process ends here."""
    if _RESET.exists():
        _RESET.write_text("5")  # the peak begins anew; see proc(5)
    before, start = peak(), time.process_time()
    try:
        result = task()
        grown = peak() - before
        after()
        found = {"result": result, "seconds": time.process_time() - start, "grown": grown}
    except BaseException:
        found = {"error": traceback.format_exc()}
    with os.fdopen(writer, "w") as told:
        told.write(json.dumps(found))
    os._exit(0)


def peak() -> int:
    """The most bytes that this process has held in memory."""
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
