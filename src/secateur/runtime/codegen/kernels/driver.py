"""The loop over batch tiles and steps, in compiled code; one function that every thread runs.

Words of the job: steps (pointer), count of steps, words a step, arenas (pointer), bytes an arena,
external pointers (pointer), batch rows, rows a tile, tiles, next tile (a counter that threads share),
flag (set to 1 once a value was NaN or infinite), threads, function that gives the thread's number,
function that waits for all threads, first batch row, function that gives the count of threads.

Without a barrier function each thread takes tiles from the counter, in an arena of its own. With one
all threads share the rows of every step of one tile, and wait for each other after each step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from secateur.runtime.codegen.ir import I32, I64, KERNEL, PTR, VOID, WORD, Emit, vector
from secateur.runtime.codegen.isa import Isa
from secateur.runtime.codegen.kernels.base import FLAG_BYTES

(STEPS, COUNT, STEP_WORDS, ARENAS, ARENA_BYTES, EXTERNAL, BATCH, WIDTH, TILES, NEXT, FLAG, THREADS, NUMBER, BARRIER,
 FIRST, TEAM) = range(16)
JOB_WORDS = 16


@dataclass(frozen=True)
class Driver:
    """The function ``void(job)``, the same for every network."""

    def text(self, name: str, isa: Isa) -> str:
        """The driver's LLVM IR."""
        del isa
        return _Writer(Emit(name, ir.FunctionType(VOID, [PTR]))).write()


class _Writer:
    def __init__(self, e: Emit):
        self.e, self.job = e, e.args[0]
        self.steps, self.count = e.pointer(self.job, STEPS), e.word(self.job, COUNT)
        self.step_bytes = e.times(e.word(self.job, STEP_WORDS), WORD)
        self.external, self.width = e.pointer(self.job, EXTERNAL), e.word(self.job, WIDTH)
        self.arenas = e.pointer(self.job, ARENAS)

    def write(self) -> str:
        e = self.e
        number = e.var(e.i(0))
        with e.b.if_then(e.b.icmp_signed("!=", e.word(self.job, NUMBER), e.i(0))):
            e.set(number, self._call(NUMBER))
        number = e.get(number)
        shared = e.b.icmp_signed("!=", e.word(self.job, BARRIER), e.i(0))
        with e.b.if_else(shared) as (split, alone):
            with split, self._flag(self.arenas, number):
                self._tile(self.arenas, e.i(0), number, self._call(TEAM), barrier=True)
            with alone:
                arena = e.at(self.arenas, e.b.mul(number, e.word(self.job, ARENA_BYTES)))
                with self._flag(arena, e.i(0)):
                    self._tiles(arena)
        return e.finish()

    def _call(self, function: int) -> Any:
        """What an OpenMP function of the job returns, as a 64-bit integer."""
        e = self.e
        return e.b.sext(e.b.call(e.function_at(e.word(self.job, function), ir.FunctionType(I32, [])), []), I64)

    @contextlib.contextmanager
    def _flag(self, arena: Any, number: Any) -> Iterator[None]:
        """Clear a thread's flag before the tiles, and tell the job behind them whether it became NaN."""
        e = self.e
        e.store(e.const(0.0, 16), e.at(arena, e.times(number, FLAG_BYTES)))
        yield
        value = e.load(e.at(arena, e.times(number, FLAG_BYTES)), vector(16))
        found = e.b.bitcast(e.b.fcmp_unordered("uno", value, value), ir.IntType(16))
        with e.b.if_then(e.b.icmp_unsigned("!=", found, ir.Constant(ir.IntType(16), 0))):
            e.store(e.i(1), e.at(self.job, FLAG * WORD))

    def _tiles(self, arena: Any) -> None:
        e = self.e
        take, done, body = (e.function.append_basic_block(name) for name in ("take", "done", "tile"))
        e.b.branch(take)
        e.b.position_at_end(take)
        tile = e.b.atomic_rmw("add", e.at(self.job, NEXT * WORD), e.i(1), "monotonic")
        e.b.cbranch(e.b.icmp_signed("<", tile, e.word(self.job, TILES)), body, done)
        e.b.position_at_end(body)
        self._tile(arena, tile, e.i(0), e.i(1), barrier=False)
        e.b.branch(take)
        e.b.position_at_end(done)

    def _tile(self, arena: Any, tile: Any, part: Any, parts: Any, barrier: bool) -> None:
        e = self.e
        done = e.b.mul(tile, self.width)
        valid = e.minimum(e.b.sub(e.word(self.job, BATCH), done), self.width)
        first = e.b.add(e.word(self.job, FIRST), done)
        with e.loop(0, self.count) as index:
            step = e.at(self.steps, e.b.mul(index, self.step_bytes))
            kernel = e.function_at(e.word(step, 0), KERNEL)
            e.b.call(kernel, [step, arena, self.external, first, valid, part, parts])
            if barrier:
                e.b.call(e.function_at(e.word(self.job, BARRIER), ir.FunctionType(VOID, [])), [])
