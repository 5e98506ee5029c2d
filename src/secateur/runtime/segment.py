"""A segment at run time: programs made when a batch size first needs them, or torch where that is faster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, fx, nn

from secateur.runtime import cache, choose, operator, runner, threads
from secateur.runtime.build import build, widths
from secateur.runtime.isa import Isa
from secateur.runtime.ops import Segment
from secateur.runtime.program import Program


@dataclass(frozen=True)
class Schedule:
    """What a batch size runs: ``(width, rows)`` in order, or torch where ``chunks`` is empty; seconds if measured."""

    chunks: choose.Chunks
    seconds: float | None = None
    dense_seconds: float | None = None


class Runner(nn.Module):
    """Runs one segment; the tuple of its outputs comes back.

    Args:
        segment: the operators.
        dense: the same in torch; it runs where it is faster and where a value is NaN or infinite.
        isa: the instruction set.
        budget: seconds for measuring at each new batch size; 0 decides by a model.
        always: never run torch where a kernel can (for tests and benchmarks).
    """

    def __init__(self, segment: Segment, dense: fx.GraphModule, isa: Isa, budget: float, always: bool = False):
        super().__init__()
        self.segment, self.isa, self.budget, self.always = segment, isa, budget, always
        self.dense, self.sizes = dense.requires_grad_(False), [v.shape for v in segment.outputs]
        self.programs: dict[tuple[int, int], Program] = {}
        self.schedules: dict[tuple[int, int], Schedule] = {}
        self.clock = choose.Clock(0)
        self.lock = threading.RLock()
        self.handle = operator.register(self)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs in the order of the segment's."""
        if torch.compiler.is_compiling():
            return tuple(torch.ops.secateur.segment(list(inputs), self.handle))
        return self.call(inputs)

    def call(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Outputs, from kernels or from torch."""
        inputs = tuple([x if x.dtype is torch.float32 else x.float() for x in inputs])
        rows = inputs[0].shape[0]
        if rows == 0:
            return self.empty(0)
        workers = threads.usable(torch.get_num_threads())
        schedule = self.schedules.get((rows, workers)) or self.schedule(inputs, workers)
        outputs = self.kernels(inputs, schedule.chunks, workers) if schedule.chunks else None
        return tuple([y.contiguous() for y in self.dense(*inputs)]) if outputs is None else outputs

    def empty(self, rows: int) -> tuple[Tensor, ...]:
        """Outputs of the right shapes, not filled."""
        return tuple([torch.empty((rows, *shape), dtype=torch.float32) for shape in self.sizes])

    def kernels(self, inputs: tuple[Tensor, ...], chunks: choose.Chunks, workers: int) -> tuple[Tensor, ...] | None:
        """Outputs from kernels; None where a value was NaN or infinite, which only torch treats as torch does."""
        held = [x.contiguous() for x in inputs]
        outputs = self.empty(held[0].shape[0])
        external, first = [t.data_ptr() for t in (*held, *outputs)], 0
        for width, rows in chunks:
            program = self.programs.get((width, workers)) or self.program(width, workers)
            if runner.run(program, external, first, rows, workers, -(-rows // width) < workers):
                return None
            first += rows
        return outputs

    def program(self, width: int, workers: int) -> Program:
        """The program for a width, made at first use."""
        found = self.programs.get((width, workers))
        if found is None:
            with self.lock:
                chooser = choose.Chooser(self.isa, self.clock)
                found = self.programs.get((width, workers)) or build(self.segment, width, self.isa, chooser, workers)
                self.programs[width, workers] = found
        return found

    def schedule(self, inputs: tuple[Tensor, ...], workers: int) -> Schedule:
        """Decide what a batch size runs, and remember it here and on disk."""
        with self.lock:
            rows = inputs[0].shape[0]
            name = self.file(rows, workers)
            kept = cache.read_json(name)
            if kept is None:
                self.clock = choose.Clock(self.budget)
                found = self.measure(inputs, workers) if self.clock.left else self.model(rows)
                self.clock = choose.Clock(0)
                if found.seconds is not None:
                    cache.write_json(name, [found.chunks, found.seconds, found.dense_seconds])
            else:
                found = Schedule(tuple((w, r) for w, r in kept[0]), kept[1], kept[2])
            self.schedules[rows, workers] = found
            self.forget()
            return found

    def forget(self) -> None:
        """Drop the programs that were only made to be timed."""
        used = {(width, workers) for (_, workers), s in self.schedules.items() for width, _ in s.chunks}
        for key in [k for k in self.programs if k not in used]:
            del self.programs[key]

    def file(self, rows: int, workers: int) -> str:
        """The name under which a schedule is kept: everything that it depends on."""
        return cache.key("schedule", choose.machine(self.isa), choose.signature(self.segment), str(workers), str(rows),
                         str(self.always), str(torch.__version__)) + ".json"

    def measure(self, inputs: tuple[Tensor, ...], workers: int) -> Schedule:
        """Time one tile of every width, cover the batch, compare with torch."""
        rows = inputs[0].shape[0]
        full = tuple(torch.rand((rows, *v.shape)) for v in self.segment.inputs)
        costs: dict[int, float] = {}
        for width in choose.options_for(rows, widths(self.isa, self.segment)):
            if not self.clock.left and costs:
                break
            count = min(rows, width)
            part = tuple(x[:count] for x in full)
            costs[width] = self.clock.best(partial(self.kernels, part, ((width, count),), 1))
        chunks = choose.divide(rows, costs, workers)[1]
        with torch.no_grad():
            ours, theirs = contest(self.clock, lambda: self.kernels(full, chunks, workers),
                                   lambda: self.dense(*full))
        return Schedule(chunks if ours <= theirs or self.always else (), ours, theirs)

    def model(self, rows: int) -> Schedule:
        """Without measuring: time a multiply-add of ours costs 1.4 of torch's, a tile what its width costs."""
        costs = {w: 0.25 + max(w, 4) / 16 for w in choose.options_for(rows, widths(self.isa, self.segment))}
        weights = [op for op in self.segment.ops if op.weight is not None]
        kept = sum(op.nonzeros for op in weights) / sum(op.weight.size for op in weights if op.weight is not None)
        return Schedule(choose.divide(rows, costs)[1] if kept < 0.7 or self.always else ())


def describe(schedule: Schedule) -> str:
    """A schedule in words."""
    if not schedule.chunks:
        return "torch"
    return " + ".join(f"{rows} rows in tiles of {width}" for width, rows in schedule.chunks)


def contest(clock: choose.Clock, *calls: Callable[[], object], rounds: int = 9) -> tuple[float, ...]:
    """The least seconds of each call, taken in turn: a busy machine only ever adds time, and adds it to all.

    Stops once the clock's budget is spent, but not before every call was timed once.
    """
    times: list[list[float]] = [[] for _ in calls]
    begin = time.perf_counter()
    for turn in range(rounds + 1):
        for call, seconds in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        if turn and clock.spent + time.perf_counter() - begin > clock.budget:
            break
    clock.spent += time.perf_counter() - begin
    return tuple(min(seconds[1:]) for seconds in times)
