"""A cut network timed against the network that it was cut from, in every way to run it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from secateur import runtime
from secateur.core.errors import MeasurementError
from secateur.core.modules import device_of
from secateur.measure.compare import LARGEST_DIFFERENCE, difference
from secateur.measure.latency import interleave, summary, torch_threads


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
        ``latency`` (what :func:`secateur.measure.latency.summary` gives, by batch size as text), ``threads_used``,
        ``sparse_error`` (the greatest :func:`secateur.measure.compare.difference` of the compiled network's outputs;
        None where none was compiled) and ``engine_used`` (empty where none was compiled).

    Raises:
        MeasurementError: the sparse run's outputs are not the dense run's.
    """
    original, cut = _on_cpu(original), _on_cpu(cut)
    with torch_threads(timing.threads) as threads, torch.inference_mode():
        ways, error, engine = _variants(original, cut, zeroed, inputs, timing, what)
        latency = {str(batch): summary(interleave(
            {name: _call(module, inputs(batch)) for name, module in ways.items()}, timing.seconds))
            for batch in timing.batches}
    return {"latency": latency, "threads_used": threads, "sparse_error": error, "engine_used": engine}


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
