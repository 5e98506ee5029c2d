"""Running programs: the job that the compiled driver reads, for tiles or for shared rows."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from secateur.runtime import jit, threads
from secateur.runtime.kernels.driver import JOB_WORDS, Driver
from secateur.runtime.program import FLAGS, STEP_WORDS, Program, pointer

Job = ctypes.c_int64 * JOB_WORDS


def run(program: Program, external: Sequence[int], first: int, count: int, workers: int, split: bool) -> bool:
    """Rows ``first`` to ``first + count`` of the batch; whether a value was NaN or infinite.

    Args:
        program: the program of a segment.
        external: the addresses of the inputs, then of the outputs, each batch-first and contiguous.
        first: the first row of the batch.
        count: how many rows.
        workers: how many threads at most.
        split: all threads share each tile (for few tiles), else each takes tiles of its own.
    """
    steps = program.load()
    tiles = -(-count // program.width)
    workers = min(workers, FLAGS) if split else min(workers, tiles)
    arena = program.arena(1 if split else workers)
    outside = (ctypes.c_int64 * len(external))(*external)
    number, team, barrier = threads.entries() if workers > 1 else (0, 0, 0)
    shared = split and workers > 1
    job = Job(pointer(steps), len(program.steps), STEP_WORDS, arena.ctypes.data, program.arena_bytes,
              ctypes.addressof(outside), count, program.width, tiles, 0, 0, workers, number,
              barrier if shared else 0, first, team)
    try:
        _go(program, job, tiles, workers, shared, first, count)
    finally:
        program.release(arena)
    return bool(job[10])


def _go(program: Program, job: ctypes.Array[ctypes.c_int64], tiles: int, workers: int, shared: bool, first: int,
        count: int) -> None:
    driver = jit.address(Driver(), program.isa)
    if not shared:
        threads.launch(driver, ctypes.addressof(job), workers)
        return
    for tile in range(tiles):
        job[14], job[6] = first + tile * program.width, min(program.width, count - tile * program.width)
        threads.launch(driver, ctypes.addressof(job), workers)
