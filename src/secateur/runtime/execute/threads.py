"""Calls compiled code on torch's own OpenMP threads, with Python's lock released."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


@functools.cache
def _openmp() -> Any:
    """The OpenMP runtime that torch has loaded, or None where it is not GNU's."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return None
    # Five fields stand before the path, which may hold spaces; a part of it would be a path from the current folder.
    paths = {fields[5] for line in lines if len(fields := line.split(maxsplit=5)) == 6}
    for path in sorted(p for p in paths if "libgomp" in Path(p).name and p.startswith("/")):
        library = _loaded(path)
        if all(hasattr(library, name) for name in ("GOMP_parallel", "GOMP_barrier", "omp_get_thread_num")):
            library.GOMP_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
            library.GOMP_parallel.restype = None
            return library
    return None


def _loaded(path: str) -> Any:
    """A library that this process has loaded already, or None: a file that is merely open as data is not run."""
    try:
        return ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:
        return None


@functools.cache
def entries() -> tuple[int, int, int]:
    """Addresses of OpenMP's functions for a thread's number, the count of threads, the barrier; 0 without OpenMP."""
    if _openmp() is None:
        return (0, 0, 0)
    number, team, barrier = (int(ctypes.cast(getattr(_openmp(), name), ctypes.c_void_p).value or 0)
                             for name in ("omp_get_thread_num", "omp_get_num_threads", "GOMP_barrier"))
    return number, team, barrier


def starter(address: int, job: int, threads: int) -> Callable[[], None]:
    """A call of a compiled ``void(job)`` on each of ``threads`` threads, this one among them."""
    if threads == 1:
        return functools.partial(ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address), ctypes.c_void_p(job))
    return functools.partial(_openmp().GOMP_parallel, ctypes.c_void_p(address), ctypes.c_void_p(job), threads, 0)


def usable(threads: int) -> int:
    """How many of the threads a call can have: one where there is no GNU OpenMP."""
    return threads if _openmp() is not None else 1
