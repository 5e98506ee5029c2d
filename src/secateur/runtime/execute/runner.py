"""Runs a program, and times its steps: fills in the job that the compiled driver reads, and starts the threads."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import partial

from secateur.runtime.codegen import jit
from secateur.runtime.codegen.kernels.driver import BATCH, COUNT, FIRST, FLAG, JOB_WORDS, NEXT, STEPS, TILES, Driver
from secateur.runtime.execute import threads
from secateur.runtime.schedule.clock import Clock
from secateur.runtime.schedule.program import MAX_THREADS, STEP_WORDS, TileProgram, aligned_zeros, pointer

_Job = ctypes.c_int64 * JOB_WORDS


class _Seat:
    """What one call at a time needs and keeps for the next: arenas, the words of the job, the function to start.

    Kept between calls, a call costs 9 µs in place of 25.
    """

    def __init__(self, program: TileProgram, workers: int, shared: bool, externals: int):
        arenas = 1 if shared else workers
        self.arena = aligned_zeros(program.arena_bytes * arenas)
        self.outside, self.steps = (ctypes.c_int64 * externals)(), program.words
        number, team, barrier = threads.entries() if workers > 1 else (0, 0, 0)
        self.job = _Job(pointer(self.steps), len(program.steps), STEP_WORDS, self.arena.ctypes.data,
                       program.arena_bytes, ctypes.addressof(self.outside), 0, program.width, 0, 0, 0, workers, number,
                       barrier if shared else 0, 0, team)
        self.start = threads.starter(jit.address(Driver(), program.isa), ctypes.addressof(self.job), workers)


def run(program: TileProgram, external: Sequence[int], first: int, count: int, workers: int, split: bool) -> bool:
    """Run a program on some rows of the batch; returns whether a value was NaN or infinite.

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
        seat = _Seat(program, workers, shared, len(external))
    job = seat.job
    seat.outside[:] = external
    job[FLAG] = 0
    if shared:
        for done in range(0, count, program.width):
            job[FIRST], job[BATCH] = first + done, min(program.width, count - done)
            seat.start()
    else:
        job[BATCH], job[TILES], job[NEXT], job[FIRST] = count, tiles, 0, first
        seat.start()
    found = bool(job[FLAG])
    free.append(seat)
    return found


def step_seconds(program: TileProgram, external: Sequence[int], count: int, workers: int,
                 clock: Clock) -> list[float]:
    """The seconds of every step of a program over ``count`` rows, each run by itself, as layers in torch are timed.

    Args:
        program: the program of a segment, which ran before.
        external: the addresses of its inputs and outputs, at the first of the rows.
        count: how many rows.
        workers: how many threads at most; they take whole tiles.
        clock: what the time is taken from.
    """
    tiles = -(-count // program.width)
    seat = _Seat(program, min(workers, tiles), False, len(external))
    seat.outside[:] = list(external)
    first = seat.job[STEPS]

    def run_step(index: int) -> None:
        seat.job[STEPS], seat.job[COUNT] = first + index * STEP_WORDS * 8, 1
        seat.job[BATCH], seat.job[TILES], seat.job[NEXT], seat.job[FIRST] = count, tiles, 0, 0
        seat.start()

    return [clock.contest(partial(run_step, index), min_seconds=0.001, rounds=7)[0]
            for index in range(len(program.steps))]
