"""The choice of kernels and of tiles, by measuring on this machine within a budget or by a model of the machine."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
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
from secateur.runtime.schedule.clock import Clock, Conditions, Measured, is_seconds, medians, steadier, widest
from secateur.runtime.schedule.program import HEAD, aligned_zeros, pointer, round_up

_SLICE = 256
"""Rows of a weight that a kernel is timed on."""


def random_input(shape: tuple[int, ...]) -> Tensor:
    """Uniform values to time kernels on, from a generator of their own: the caller's random numbers stay the same."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32, device="cpu")


@dataclass(frozen=True)
class KernelTimes(Measured):
    """The seconds that each kernel took for one product, and how they were measured."""

    seconds: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """The times as they are kept on disk."""
        return {"seconds": self.seconds, "conditions": self.conditions.to_json()}

    @staticmethod
    def from_json(kept: Any, count: int) -> KernelTimes | None:
        """What :meth:`to_json` wrote for ``count`` kernels; None for anything else."""
        try:
            seconds, conditions = itemgetter("seconds", "conditions")(kept)
            if not isinstance(seconds, list) or len(seconds) != count or not all(map(is_seconds, seconds)):
                return None
            return KernelTimes(tuple(seconds), conditions=Conditions.from_json(conditions))
        except (KeyError, TypeError, ValueError):
            return None


class KernelChooser:
    """Chooses the kernel of a product, and keeps on disk what it measured."""

    def __init__(self, isa: Isa, clock: Clock):
        self.isa, self.clock = isa, clock

    def __call__(self, op: Op, options: Sequence[Candidate]) -> Candidate:
        """The fastest of the options, or the first where nothing may be measured."""
        if len(options) < 2 or op.weight is None:
            return options[0]
        parts = ("kernel", machine_key(self.isa), repr(options), str(op.weight.shape), str(op.nonzeros))
        name = f"{cache.key(*parts)}.json"
        found = KernelTimes.from_json(cache.read_json(name), len(options))
        measured = self.clock.left and not isinstance(options[0].spec, Conv | ImageConv)
        if measured and (found is None or found.conditions.wants_another()):
            found = self._measure(op, options, found)
            cache.write_json(name, found.to_json())
        return _fastest(options, None if found is None else found.seconds)

    def _measure(self, op: Op, options: Sequence[Candidate], earlier: KernelTimes | None) -> KernelTimes:
        """Time all options in turns; the times from earlier stay where they are the steadier ones."""
        with self.clock.spending():
            csr = Csr.of(np.ascontiguousarray(op.weight[:_SLICE]))  # type: ignore[index]
            calls = [self._call(csr, option, op) for option in options]
        times = self.clock.times(*calls, min_seconds=0.001)
        return steadier(KernelTimes(medians(times), conditions=Conditions.now(widest(times))), earlier)

    def _call(self, weight: Csr, option: Candidate, op: Op) -> Callable[[], object]:
        """A call of the kernel on random activations."""
        spec, (rows, columns) = option.spec, weight.shape
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

        def run(_held: object = (packed, bias)) -> None:
            # The words are addresses alone: what they point to has to live as long as the call.
            call(pointer(words), pointer(arena), None, 0, spec.width, 0, 1)

        return run


def _fastest(options: Sequence[Candidate], seconds: Sequence[float] | None) -> Candidate:
    """The fastest option, or the first where none was timed; its ``rest`` says why each other was not taken."""
    best = 0 if seconds is None else int(np.argmin(seconds))
    rest = tuple((str(option), "not measured, likely slower" if seconds is None else
                  f"measured {seconds[k] * 1e6:.1f} us against {seconds[best] * 1e6:.1f} on its first {_SLICE} rows")
                 for k, option in enumerate(options) if k != best)
    return replace(options[best], rest=rest)


def machine_key(isa: Isa) -> str:
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
