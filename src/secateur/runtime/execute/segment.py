"""Runs a segment: on programs that are made when a batch size first needs them, or in torch where that is faster."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, fx, nn

from secateur.core.errors import SecateurError
from secateur.runtime.codegen import cache
from secateur.runtime.codegen.isa import Isa
from secateur.runtime.execute import layers, operator, runner, threads
from secateur.runtime.ops import Segment
from secateur.runtime.schedule import choose
from secateur.runtime.schedule.build import build, widths
from secateur.runtime.schedule.clock import Clock, Conditions, steadier
from secateur.runtime.schedule.mixed import Mixed
from secateur.runtime.schedule.program import TileProgram
from secateur.runtime.schedule.tile_schedule import TileSchedule

_FORM = "schedule: chunks, seconds, dense_seconds, dense, costs, tiles, conditions"
"""What is kept of a schedule on disk; a part of its key, so that a schedule of an older version is not read."""
_AGAIN, _LEAST = 2, 3
"""How often a contest whose times are unsteady is held again, and how often a short call is timed at least: of three
times, one that was interrupted does not change the median."""


class Runner(nn.Module):
    """Runs one segment and returns the tuple of its outputs.

    Args:
        segment: the operators.
        dense: the segment in torch, which runs where it is faster and where a value is NaN or infinite.
        isa: the instruction set.
        budget: seconds for measuring at each new batch size; 0 decides by a model.
        always: never run torch where a kernel can (for tests and benchmarks).
    """

    def __init__(self, segment: Segment, dense: fx.GraphModule, isa: Isa, budget: float, always: bool = False):
        super().__init__()
        self.segment, self.isa, self.budget, self.always = segment, isa, budget, always
        self.dense, self.sizes = dense.requires_grad_(False), [v.shape for v in segment.outputs]
        self.input_sizes = [v.size for v in segment.inputs]
        self.programs: dict[tuple[int, int], TileProgram] = {}
        self.schedules: dict[tuple[int, int], TileSchedule] = {}
        self.clock = Clock(0)
        self.lock = threading.RLock()
        self.mixes: dict[tuple[int, ...], Mixed] = {}
        self.handle = operator.register(self)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs in the order of the segment's."""
        if torch.compiler.is_compiling():
            return tuple(torch.ops.secateur.segment(list(inputs), self.handle))
        return self.call(inputs)

    def call(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Outputs, from kernels or from torch."""
        inputs = tuple([x if x.dtype is torch.float32 else x.float() for x in inputs])
        lead = self.segment.lead(inputs[0].shape)
        rows = lead[0] if len(lead) == 1 else math.prod(lead)
        if rows == 0:
            return self.empty(lead)
        workers = threads.usable(torch.get_num_threads())
        schedule = self.schedules.get((rows, workers)) or self.schedule(lead, workers)
        outputs = None
        if schedule.chunks:
            runs: Runner | Mixed = self.mixture(schedule.dense) if schedule.dense else self
            outputs = runs.kernels(inputs, lead, rows, schedule.chunks, workers)
        return tuple([y.contiguous() for y in self.dense(*inputs)]) if outputs is None else outputs

    def empty(self, lead: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Outputs of the right shapes, not filled."""
        return tuple([torch.empty((*lead, *shape), dtype=torch.float32, device="cpu") for shape in self.sizes])

    def kernels(self, inputs: tuple[Tensor, ...], lead: tuple[int, ...], rows: int, chunks: choose.Chunks,
                workers: int) -> tuple[Tensor, ...] | None:
        """Outputs from kernels, or None where a value was NaN or infinite: then torch computes the call."""
        held = [x.contiguous().resolve_neg() for x in inputs]
        if [x.numel() for x in held] != [rows * size for size in self.input_sizes]:
            raise SecateurError(f"inputs of shapes {[tuple(x.shape) for x in inputs]} have different counts of rows")
        outputs = self.empty(lead)
        external, first = [t.data_ptr() for t in (*held, *outputs)], 0
        for width, count in chunks:
            program = self.programs.get((width, workers)) or self.program(width, workers)
            if runner.run(program, external, first, count, workers, -(-count // width) < workers):
                return None
            first += count
        return outputs

    def mixture(self, dense: tuple[int, ...]) -> Mixed:
        """The segment with some operators dense in torch, made at first use."""
        found = self.mixes.get(dense)
        if found is None:
            with self.lock:
                found = self.mixes.setdefault(dense, Mixed(self.segment, dense, self._part))
        return found

    def _part(self, segment: Segment) -> Runner:
        """What runs a part of the segment; it shares the clock's budget."""
        made = Runner(segment, fx.GraphModule(nn.Module(), fx.Graph()), self.isa, 0, True)
        made.clock = self.clock
        return made

    def program(self, width: int, workers: int) -> TileProgram:
        """The program for a width, made at first use."""
        found = self.programs.get((width, workers))
        if found is None:
            with self.lock:
                chooser = choose.KernelChooser(self.isa, self.clock)
                found = self.programs.get((width, workers)) or build(self.segment, width, self.isa, chooser, workers)
                self.programs[width, workers] = found
        return found

    def schedule(self, lead: tuple[int, ...], workers: int) -> TileSchedule:
        """Decide what a count of rows runs, and remember it here and on disk."""
        with self.lock:
            rows = math.prod(lead)
            name = self._cache_name(rows, workers)
            kept = TileSchedule.from_json(cache.read_json(name), self.segment, self.isa, rows)
            likes = (s.scale_to(count, rows, workers) for (count, team), s in self.schedules.items() if team == workers)
            near = next((like for like in likes if like is not None), None)
            if kept is not None and not (self.budget and kept.conditions.wants_another()):
                found = kept
            elif kept is None and near is not None:
                found = near
            elif not self.budget:
                found = self.estimate(rows)
            else:
                found = steadier(self._measure(lead, workers), kept)
                cache.write_json(name, found.to_json())
            self.schedules[rows, workers] = found
            self._forget()
            return found

    def _forget(self) -> None:
        """Drop the programs that were only made to be timed."""
        used = {(width, workers) for (_, workers), s in self.schedules.items() for width, _ in s.chunks if not s.dense}
        wanted = {s.dense for s in self.schedules.values()}
        self.mixes = {dense: mix for dense, mix in self.mixes.items() if dense in wanted}
        for key in [k for k in self.programs if k not in used]:
            del self.programs[key]

    def _cache_name(self, rows: int, workers: int) -> str:
        """The name of the file that keeps a schedule, made from everything that the schedule depends on."""
        return cache.key(_FORM, choose.machine_key(self.isa), choose.signature(self.segment), str(workers), str(rows),
                         str(self.always), str(torch.__version__)) + ".json"

    def _measure(self, lead: tuple[int, ...], workers: int) -> TileSchedule:
        """What is fastest for a count of rows, timed within the budget."""
        self.clock = Clock(self.budget, _AGAIN, _LEAST)
        try:
            found = self._time(lead, workers)
            return replace(found, conditions=Conditions.now(self.clock.spread))
        finally:
            self.clock = Clock(0)

    def _time(self, lead: tuple[int, ...], workers: int) -> TileSchedule:
        """Time a tile of each width, widest first, then the best cover of the rows and torch, by layer and whole."""
        rows = math.prod(lead)
        full = tuple(choose.random_input((*lead, *v.shape)) for v in self.segment.inputs)
        costs: dict[int, float] = {}
        for width in reversed(choose.options_for(rows, widths(self.isa, self.segment))):
            if not self.clock.left and costs:
                break
            count = min(rows, width)
            part = tuple(x.reshape(rows, *v.shape)[:count] for x, v in zip(full, self.segment.inputs, strict=True))
            costs[width] = self.clock.contest(
                partial(self.kernels, part, (count,), count, ((width, count),), 1), min_seconds=0.002, rounds=15)[0]
        chunks = choose.divide(rows, costs, workers)[1]
        with torch.no_grad():
            spent, dense = layers.measure_costs(self, full, lead, chunks, workers)
            ways: list[Runner | Mixed] = [self, self.mixture(dense)] if dense and not self.always else [self]
            calls = [partial(way.kernels, full, lead, rows, chunks, workers) for way in ways]
            ours, *both, theirs = self.clock.contest(*calls, partial(self.dense, *full))
        if both and both[0] < min(ours, theirs):
            return TileSchedule(chunks, both[0], theirs, dense, spent, costs)
        return TileSchedule(chunks if ours <= theirs or self.always else (), ours, theirs, (), spent, costs)

    def estimate(self, rows: int) -> TileSchedule:
        """Choose by the model of :mod:`~secateur.runtime.execute.layers`; a tile costs a constant and its width."""
        # In this model a tile of fewer than four rows costs as much as one of four.
        costs = {w: 0.25 + max(w, 4) / 16 for w in choose.options_for(rows, widths(self.isa, self.segment))}
        chunks = choose.divide(rows, costs)[1]
        spent, dense, whole = layers.estimate_costs(self.segment, chunks, rows)
        if self.always:
            return TileSchedule(chunks, costs=spent)
        return TileSchedule(() if whole else chunks, dense=() if whole else dense, costs=spent)
