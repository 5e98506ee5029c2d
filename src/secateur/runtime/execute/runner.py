"""Running programs: the job that the compiled driver reads, for tiles or for shared rows."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from secateur.runtime.codegen import jit
from secateur.runtime.codegen.kernels.driver import BATCH, FIRST, FLAG, JOB_WORDS, NEXT, TILES, Driver
from secateur.runtime.execute import threads
from secateur.runtime.schedule.program import MAX_THREADS, STEP_WORDS, Program, aligned, pointer

Job = ctypes.c_int64 * JOB_WORDS


class Seat:
    """All that one call at a time needs: arenas, the job's words, the function to start; kept for the next call."""

    def __init__(self, program: Program, workers: int, shared: bool, externals: int):
        arenas = 1 if shared else workers
        self.arena = aligned(program.arena_bytes * arenas)
        self.outside, self.steps = (ctypes.c_int64 * externals)(), program.words
        number, team, barrier = threads.entries() if workers > 1 else (0, 0, 0)
        self.job = Job(pointer(self.steps), len(program.steps), STEP_WORDS, self.arena.ctypes.data,
                       program.arena_bytes, ctypes.addressof(self.outside), 0, program.width, 0, 0, 0, workers, number,
                       barrier if shared else 0, 0, team)
        self.start = threads.starter(jit.address(Driver(), program.isa), ctypes.addressof(self.job), workers)


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
    tiles = -(-count // program.width)
    workers = min(workers, MAX_THREADS if split else tiles)
    shared = split and workers > 1
    free = program.free.setdefault((workers, shared), [])
    try:
        seat = free.pop()
    except IndexError:
        seat = Seat(program, workers, shared, len(external))
    job = seat.job
    seat.outside[:] = external
    job[FLAG] = 0
    if shared:
        _shared(seat, program.width, first, count)
    else:
        job[BATCH], job[TILES], job[NEXT], job[FIRST] = count, tiles, 0, first
        seat.start()
    found = bool(job[FLAG])
    free.append(seat)
    return found


def _shared(seat: Seat, width: int, first: int, count: int) -> None:
    """One tile after the other, each by all threads."""
    for done in range(0, count, width):
        seat.job[FIRST], seat.job[BATCH] = first + done, min(width, count - done)
        seat.start()
