"""How long each step of a program takes, by running each by itself over all tiles."""

from __future__ import annotations

import time
from collections.abc import Sequence

from secateur.runtime.codegen.kernels.driver import BATCH, COUNT, FIRST, NEXT, STEPS, TILES
from secateur.runtime.execute import runner
from secateur.runtime.schedule.program import STEP_WORDS, Program

ROUNDS = 3


def seconds(program: Program, external: Sequence[int], count: int, workers: int) -> list[float]:
    """Seconds of every step over ``count`` rows: the least of a few runs.

    Args:
        program: the program of a segment, which ran before.
        external: the addresses of its inputs and outputs, at the first of the rows.
        count: how many rows.
        workers: how many threads at most; they take whole tiles.
    """
    tiles = -(-count // program.width)
    seat = runner.Seat(program, min(workers, tiles), False, len(external))
    seat.outside[:] = list(external)
    first = seat.job[STEPS]
    found = []
    for index in range(len(program.steps)):
        times = []
        for _ in range(ROUNDS):
            seat.job[STEPS], seat.job[COUNT] = first + index * STEP_WORDS * 8, 1
            seat.job[BATCH], seat.job[TILES], seat.job[NEXT], seat.job[FIRST] = count, tiles, 0, 0
            start = time.perf_counter()
            seat.start()
            times.append(time.perf_counter() - start)
        found.append(min(times))
    return found
