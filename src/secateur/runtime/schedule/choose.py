"""Which kernel, which width, or torch: by measuring on this machine within a budget, or by a model of it."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

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
from secateur.runtime.schedule.program import HEAD, aligned, pointer

SLICE = 256
"""Rows of a weight that a kernel is timed on."""


def drawn(shape: tuple[int, ...]) -> Tensor:
    """Uniform values to time kernels on, drawn apart from torch's own generator."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32, device="cpu")


class Clock:
    """A budget of seconds for measuring; zero or less means: do not measure."""

    def __init__(self, budget: float):
        self.budget, self.spent = budget, 0.0

    @property
    def left(self) -> bool:
        """Whether anything may still be measured."""
        return self.spent < self.budget

    def best(self, call: Callable[[], Any], least: float = 0.002, most: int = 15) -> float:
        """Seconds of a call: the least of up to ``most`` calls, after one that is not counted.

        A busy machine only ever adds time, so the least is the steadiest.
        """
        begin = time.perf_counter()
        call()
        times: list[float] = []
        while len(times) < 3 or (len(times) < most and sum(times) < least):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
            if self.spent + time.perf_counter() - begin > self.budget:
                break
        self.spent += time.perf_counter() - begin
        return min(times)


class Chooser:
    """Picks the kernel of a product; remembers on disk what it measured."""

    def __init__(self, isa: Isa, clock: Clock):
        self.isa, self.clock = isa, clock

    def __call__(self, op: Op, options: Sequence[Candidate]) -> Candidate:
        """The fastest of the options, or the first where nothing may be measured."""
        if len(options) < 2 or op.weight is None:
            return options[0]
        name = cache.key("kernel", machine(self.isa), repr(options), str(op.weight.shape), str(op.nonzeros)) + ".json"
        kept = cache.read_json(name)
        if isinstance(kept, list) and len(kept) == len(options):
            return judged(options, kept)
        if not self.clock.left or isinstance(options[0].spec, Conv | ImageConv):
            return judged(options, None)
        csr = Csr.of(np.ascontiguousarray(op.weight[:SLICE]))
        seconds = [self.seconds(csr, option, op) for option in options]
        cache.write_json(name, seconds)
        return judged(options, seconds)

    def seconds(self, weight: Csr, option: Candidate, op: Op) -> float:
        """The time of one call on random activations."""
        spec, (rows, columns) = option.spec, weight.shape
        begin = time.perf_counter()
        bias = None if op.bias is None else np.zeros(rows + 2, np.float32)
        packed = option.pack(weight)
        place = HEAD + -(-(columns + 2 + BLOCK) * spec.width * 4 // 64) * 64
        sums = place + -(-(rows + 2) * spec.width * 4 // 64) * 64
        arena = aligned(sums + sums_bytes(rows, 1))
        inputs = arena[HEAD:HEAD + columns * spec.width * 4].view(np.float32)
        inputs[:] = np.random.default_rng(0).standard_normal(len(inputs), np.float32)
        words = np.array([jit.address(spec, self.isa), HEAD, place, pointer(packed.table), pointer(packed.heads),
                          pointer(packed.stream), pointer(bias), packed.parts, packed.blocks, rows, sums], np.int64)
        call = kernel(int(words[0]))
        self.clock.spent += time.perf_counter() - begin
        return self.clock.best(lambda: call(pointer(words), pointer(arena), None, 0, spec.width, 0, 1), 0.001, 9)


def judged(options: Sequence[Candidate], seconds: Sequence[float] | None) -> Candidate:
    """The fastest option, or the first, with what speaks against each of the others."""
    best = 0 if seconds is None else int(np.argmin(seconds))
    rest = tuple((str(option), "not measured, likely slower" if seconds is None else
                  f"measured {seconds[k] * 1e6:.1f} us against {seconds[best] * 1e6:.1f} on its first {SLICE} rows")
                 for k, option in enumerate(options) if k != best)
    return replace(options[best], rest=rest)


def kernel(address: int) -> Any:
    """A compiled kernel as a Python function."""
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 4)(address)


def machine(isa: Isa) -> str:
    """What measured choices hold for: processor, instruction set, generator."""
    from llvmlite import binding

    return f"{binding.get_host_cpu_name()} {isa} {cache.generator()}"


def signature(segment: Segment) -> str:
    """What a segment's timings depend on."""
    return repr([(op.kind, op.inputs, op.output, op.nonzeros, op.act, sorted(op.settings.items()))
                 for op in segment.ops])


def options_for(batch: int, widths: Sequence[int]) -> list[int]:
    """The widths worth a look at a batch size: a tile of one, and those that are not mostly empty.

    >>> options_for(1, (1, 8, 16, 32, 64)), options_for(5, (1, 8, 16, 32, 64)), options_for(20, (1, 8, 16, 32, 64))
    ([1], [1, 8], [1, 8, 16, 32])
    """
    if batch == 1:
        return [widths[0]]
    return [w for k, w in enumerate(widths) if k < 2 or widths[k - 1] < batch]


Chunks = tuple[tuple[int, int], ...]


def divide(batch: int, costs: dict[int, float], workers: int = 1) -> tuple[float, Chunks]:
    """The cheapest way to cover a batch with tiles: predicted cost, and ``(width, rows)`` in order.

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
    chunks = (((fastest, min(whole, batch)),) if whole else ()) + merge(sorted(rest[1], reverse=True))
    tiles = whole // fastest
    return tiles * costs[fastest] / min(workers, max(1, tiles)) + rest[0], chunks


def merge(chunks: Sequence[tuple[int, int]]) -> Chunks:
    """Neighbours of the same width as one.

    >>> merge([(16, 16), (16, 16), (8, 3)])
    ((16, 32), (8, 3))
    """
    merged: list[tuple[int, int]] = []
    for width, rows in chunks:
        if merged and merged[-1][0] == width:
            merged[-1] = (width, merged[-1][1] + rows)
        else:
            merged.append((width, rows))
    return tuple(merged)


