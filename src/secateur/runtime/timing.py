"""A cut network timed against the network that it was cut from, in every way to run it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import torch
from torch import nn

from secateur import runtime
from secateur.core.errors import MeasurementError
from secateur.core.machine import OthersLoad
from secateur.core.modules import device_of
from secateur.measure.compare import LARGEST_DIFFERENCE, difference
from secateur.measure.flops import flops_of
from secateur.measure.latency import interleave, summary, torch_threads
from secateur.measure.noise import AGAIN, noisy_batches, steadier
from secateur.measure.size import size


@dataclass(frozen=True)
class Timing:
    """How a point is timed: batch sizes, seconds for each, torch threads (0: as they are), engine (empty: best)."""

    batches: tuple[int, ...]
    seconds: float
    threads: int
    engine: str


def time_cut(original: nn.Module, cut: nn.Module, zeroed: bool, inputs: Callable[[int], Any], timing: Timing,
             what: str) -> dict[str, Any]:
    """The latency of a cut network at every batch size, beside the original's, on the CPU.

    Args:
        original: the network before the cut.
        cut: the network after it.
        zeroed: whether weights were zeroed; then the cut network runs dense and compiled, else as it is.
        inputs: gives inputs of a batch size, one or a tuple of them.
        timing: batch sizes, seconds, threads, engine.
        what: the cut in words, for an error.

    Returns:
        ``latency``, ``conditions`` and ``work_ratio`` as :mod:`secateur.measure.noise` describes them,
        ``threads_used``, ``sparse_error`` (the greatest :func:`secateur.measure.compare.difference` of the compiled
        network's outputs; None where none was compiled) and ``engine_used`` (empty where none was compiled).

    Raises:
        MeasurementError: the sparse run's outputs are not the dense run's.
    """
    original, cut = _on_cpu(original), _on_cpu(cut)
    with torch_threads(timing.threads) as threads, torch.inference_mode():
        ways, error, engine = _variants(original, cut, zeroed, inputs, timing, what)
        timed = {str(batch): _time_batch(ways, inputs(batch), timing.seconds) for batch in timing.batches}
        ratio = _work_ratio(original, cut, inputs(min(timing.batches)))
    return {"latency": {batch: latency for batch, (latency, _) in timed.items()},
            "conditions": {batch: conditions for batch, (_, conditions) in timed.items()},
            "work_ratio": ratio, "threads_used": threads, "sparse_error": error, "engine_used": engine}


def time_until_quiet(measure: Callable[[Timing], dict[str, Any]], timing: Timing) -> dict[str, Any]:
    """What ``measure`` gives for a timing; its noisy batches are measured again, for at most a part (:data:`AGAIN`) of
    the seconds that the first time took, and replaced by what is less noisy."""
    start = perf_counter()
    found = measure(timing)
    end = perf_counter() + AGAIN * (perf_counter() - start)
    while (noisy := noisy_batches(found)) and perf_counter() < end:
        found = steadier(measure(replace(timing, batches=noisy)), found)
    return found


def _time_batch(ways: Mapping[str, nn.Module], inputs: Any, seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """The latency of every way to run a network on some inputs, and the conditions under which it was timed."""
    others = OthersLoad()
    times = interleave({name: _call(module, inputs) for name, module in ways.items()}, seconds)
    return summary(times), {"rounds": len(times["original"]), "load": others.measure()}


def _work_ratio(original: nn.Module, cut: nn.Module, inputs: Any) -> float | None:
    """How many times more work the original is: FLOPs or bytes, whichever is more.

    torch multiplies the original's zeros too, so they count; those of the cut network do not. None where nothing is
    left to count.
    """
    before, after = size(original), size(cut)
    pairs = ((flops_of(original, inputs, False), flops_of(cut, inputs, True)),
             (before["bytes"], after["bytes_sparse"]))
    ratios = [old / new if new else math.inf for old, new in pairs if old]
    most = max(ratios, default=math.inf)
    return most if math.isfinite(most) else None


def _variants(original: nn.Module, cut: nn.Module, zeroed: bool, inputs: Callable[[int], Any], timing: Timing,
              what: str) -> tuple[dict[str, nn.Module], float | None, str]:
    """The ways to run a cut network, the greatest difference of the sparse run from the dense one, and the engine."""
    if not zeroed:
        return {"original": original, "small": cut}, None, ""
    sparse = runtime.compile(cut, inputs(1), engine=timing.engine or None)
    error = max(difference(_call(sparse, x)(), _call(cut, x)()) for x in map(inputs, timing.batches))
    if not error <= LARGEST_DIFFERENCE:
        raise MeasurementError(f"sparse and dense outputs of the same weights differ by {error:.2g} (relative), "
                               f"allowed {LARGEST_DIFFERENCE:g}: {what}")
    return {"original": original, "dense": cut, "sparse": sparse}, error, sparse.engine


def _on_cpu(model: nn.Module) -> nn.Module:
    """The network itself where it is on the CPU, else a copy there."""
    return model if device_of(model).type == "cpu" else copy.deepcopy(model).cpu()


def _call(module: nn.Module, x: Any) -> Callable[[], Any]:
    return (lambda: module(*x)) if isinstance(x, tuple) else lambda: module(x)
