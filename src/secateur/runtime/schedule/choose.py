"""The choice of kernels and of tiles, by measuring on this machine within a budget or by a model of the machine."""

from __future__ import annotations

import ctypes
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from secateur.runtime.codegen import cache, jit
from secateur.runtime.codegen.isa import Isa
from secateur.runtime.codegen.kernels.conv import Conv
from secateur.runtime.codegen.kernels.image import ImageConv
from secateur.runtime.codegen.kernels.permute import BLOCK
from secateur.runtime.ops import Op, Segment
from secateur.runtime.packing.pack import Csr
from secateur.runtime.packing.pack_permute import sums_bytes
from secateur.runtime.schedule.candidates import Candidate
from secateur.runtime.schedule.program import HEAD, aligned_zeros, pointer, round_up

_SLICE = 256
"""Rows of a weight that a kernel is timed on."""


def random_input(shape: tuple[int, ...]) -> Tensor:
    """Uniform values to time kernels on, from a generator of their own: the caller's random numbers stay the same."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32, device="cpu")


class Clock:
    """A budget of seconds for measuring; zero means that nothing is measured."""

    def __init__(self, budget: float):
        self.budget, self.spent = budget, 0.0

    @property
    def left(self) -> bool:
        """Whether anything may still be measured."""
        return self.spent < self.budget

    def contest(self, *calls: Callable[[], object], min_seconds: float = math.inf,
                rounds: int = 9) -> tuple[float, ...]:
        """The shortest time of each call in seconds, the calls taken in turn, after a round that is not counted.

        A busy machine only ever adds time, so the shortest is the steadiest; turns let it add to all calls alike.
        The contest ends after ``rounds``, or after three once each call ran for ``min_seconds`` in all. Where the
        budget is spent it ends sooner, but not before every call was timed once.
        """
        times: list[list[float]] = [[] for _ in calls]
        begin = time.perf_counter()
        for turn in range(rounds + 1):
            for call, seconds in zip(calls, times, strict=True):
                start = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - start)
            enough = turn >= 3 and all(sum(seconds[1:]) >= min_seconds for seconds in times)
            if turn and (enough or self.spent + time.perf_counter() - begin > self.budget):
                break
        self.spent += time.perf_counter() - begin
        return tuple(min(seconds[1:]) for seconds in times)


class KernelChooser:
    """Chooses the kernel of a product, and keeps on disk what it measured."""

    def __init__(self, isa: Isa, clock: Clock):
        self.isa, self.clock = isa, clock

    def __call__(self, op: Op, options: Sequence[Candidate]) -> Candidate:
        """The fastest of the options, or the first where nothing may be measured."""
        if len(options) < 2 or op.weight is None:
            return options[0]
        name = cache.key("kernel", machine(self.isa), repr(options), str(op.weight.shape), str(op.nonzeros)) + ".json"
        kept = cache.read_json(name)
        if isinstance(kept, list) and len(kept) == len(options):
            return _fastest(options, kept)
        if not self.clock.left or isinstance(options[0].spec, Conv | ImageConv):
            return _fastest(options, None)
        csr = Csr.of(np.ascontiguousarray(op.weight[:_SLICE]))
        seconds = [self._seconds(csr, option, op) for option in options]
        cache.write_json(name, seconds)
        return _fastest(options, seconds)

    def _seconds(self, weight: Csr, option: Candidate, op: Op) -> float:
        """The time of one call on random activations."""
        spec, (rows, columns) = option.spec, weight.shape
        begin = time.perf_counter()
        bias = None if op.bias is None else np.zeros(rows + 2, np.float32)
        packed = option.pack(weight)
        place = HEAD + round_up((columns + 2 + BLOCK) * spec.width * 4)
        sums = place + round_up((rows + 2) * spec.width * 4)
        arena = aligned_zeros(sums + sums_bytes(rows, 1))
        inputs = arena[HEAD:HEAD + columns * spec.width * 4].view(np.float32)
        inputs[:] = np.random.default_rng(0).standard_normal(len(inputs), np.float32)
        words = np.array([jit.address(spec, self.isa), HEAD, place, pointer(packed.table), pointer(packed.heads),
                          pointer(packed.stream), pointer(bias), packed.parts, packed.blocks, rows, sums], np.int64)
        call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 4)(int(words[0]))
        self.clock.spent += time.perf_counter() - begin
        return self.clock.contest(lambda: call(pointer(words), pointer(arena), None, 0, spec.width, 0, 1),
                                  min_seconds=0.001)[0]


def _fastest(options: Sequence[Candidate], seconds: Sequence[float] | None) -> Candidate:
    """The fastest option, or the first where none was timed; its ``rest`` says why each other was not taken."""
    best = 0 if seconds is None else int(np.argmin(seconds))
    rest = tuple((str(option), "not measured, likely slower" if seconds is None else
                  f"measured {seconds[k] * 1e6:.1f} us against {seconds[best] * 1e6:.1f} on its first {_SLICE} rows")
                 for k, option in enumerate(options) if k != best)
    return replace(options[best], rest=rest)


def machine(isa: Isa) -> str:
    """What measured choices hold for: the processor, the instruction set, the source of the generator."""
    from llvmlite import binding

    return f"{binding.get_host_cpu_name()} {isa} {cache.generator()}"


def signature(segment: Segment) -> str:
    """A segment as text, with everything that its timings depend on."""
    return repr([(op.kind, op.inputs, op.output, op.nonzeros, op.act, sorted(op.settings.items()))
                 for op in segment.ops])


def options_for(batch: int, widths: Sequence[int]) -> list[int]:
    """The widths of tile to time at a batch size: a tile of one row, and those that would not be mostly empty.

    >>> options_for(1, (1, 8, 16, 32, 64)), options_for(5, (1, 8, 16, 32, 64)), options_for(20, (1, 8, 16, 32, 64))
    ([1], [1, 8], [1, 8, 16, 32])
    """
    if batch == 1:
        return [widths[0]]
    return [w for k, w in enumerate(widths) if k < 2 or widths[k - 1] < batch]


Chunks = tuple[tuple[int, int], ...]


def divide(batch: int, costs: dict[int, float], workers: int = 1) -> tuple[float, Chunks]:
    """The cheapest cover of a batch by tiles: the cost, in the unit of ``costs``, and ``(width, rows)`` in order.

    The width that is cheapest by row covers the bulk. Only the last rows, up to two of the widest tile, are divided by
    dynamic programming, so that the time does not grow with the batch.

    >>> divide(20, {1: 1.0, 8: 3.0, 16: 4.0})
    (7.0, ((16, 16), (8, 4)))
    """
    widest = max(costs)
    best: list[tuple[float, Chunks]] = [(0.0, ())]
    for rows in range(1, min(batch, 2 * widest) + 1):
        steps = []
        for width, cost in costs.items():
            seconds, before = best[max(0, rows - width)]
            steps.append((seconds + cost, (*before, (width, min(rows, width)))))
        best.append(min(steps))
    bulk = batch - len(best) + 1
    fastest = min(costs, key=lambda w: costs[w] / w)
    whole = -(-bulk // fastest) * fastest if bulk else 0
    rest = best[batch - whole] if whole <= batch else best[0]
    bulk_chunk = ((fastest, min(whole, batch)),) if whole else ()
    ends = tuple((width, sum(rows for _, rows in tiles))
                 for width, tiles in itertools.groupby(sorted(rest[1], reverse=True), key=lambda tile: tile[0]))
    count = whole // fastest
    return count * costs[fastest] / min(workers, max(1, count)) + rest[0], bulk_chunk + ends
