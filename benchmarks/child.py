"""Work in a process of its own: a limit on its CPU time, the stage it is in, the most memory it holds."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from secateur.bench.memory import peak, reset_peak

BACKSTOP_S, MOST_BYTES = 400, 12 << 30
_pipe: int | None = None


class OutOfTime(BaseException):
    """The CPU time of a stage is used up. No ``Exception``, so that a library's own handlers let it pass."""


def stage(name: str) -> None:
    """Say which stage begins; a process that is killed is judged by the last one."""
    if _pipe is not None:
        os.write(_pipe, json.dumps({"stage": name}).encode() + b"\n")


@contextmanager
def limited(name: str, seconds: float) -> Iterator[dict[str, Any]]:
    """A stage of ``seconds`` of CPU time at most; its own time and memory are written into what this gives.

    Raises:
        OutOfTime: the time is used up; again each second, should somebody catch it.
    """
    def end(*_: Any) -> None:
        raise OutOfTime

    spent: dict[str, Any] = {}
    before, start = reset_peak(), time.process_time()
    stage(name)
    old = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1)
    try:
        yield spent
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)
        spent |= {"s": time.process_time() - start, "peak_bytes": peak() - before}


def isolated(work: Callable[[], dict[str, Any]], limit: float) -> dict[str, Any]:
    """Run ``work`` in a child process; what it gives, or the stage in which it was killed.

    ``limit`` is what its :func:`limited` stages may take. The whole process is killed well beyond that only, or
    where it holds too much memory.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        live(work, writer, int(limit) + BACKSTOP_S)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = [json.loads(line) for line in pipe.read().splitlines() if line.endswith(b"}")]
    _, status = os.waitpid(child, 0)
    stages = [s["stage"] for s in said if s.keys() == {"stage"}] or [""]
    killed = {"killed": status & 127} if status else {}
    return {"stage": stages[-1]} | (said[-1] if said and said[-1].keys() != {"stage"} else {}) | killed


def live(work: Callable[[], dict[str, Any]], writer: int, most: int) -> None:
    """The child's life: work, tell, end."""
    global _pipe
    _pipe = writer
    resource.setrlimit(resource.RLIMIT_CPU, (most, most))
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    signal.alarm(10 * most)
    try:
        row = work()
    except Exception as error:
        row = {"error": f"{type(error).__name__}: {error}"[:300]}
    os.write(writer, json.dumps(row).encode() + b"\n")
    os._exit(0)
