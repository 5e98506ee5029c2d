"""What each operator of a segment costs, on its kernel and in torch, and which should run dense."""

from __future__ import annotations

import time
from typing import Any

from torch import Tensor

from secateur.runtime.codegen.kernels.transpose import Enter, Leave
from secateur.runtime.execute import profile
from secateur.runtime.ops import Op, Segment
from secateur.runtime.schedule import choose
from secateur.runtime.schedule.mixed import Layer, pays

PIECE = 1e-5
"""Seconds that one more piece costs: a call from Python, an output to allocate."""
RATE = 5e10
"""Multiply-adds a second of torch's dense layers, for the model: only ratios matter."""
WORSE = 1.4
"""How many dense multiply-adds one of ours costs, by the model."""
MOVED = 4
"""How many dense multiply-adds it costs to bring a value into a plan, or out of it, by the model."""

Costs = dict[int, tuple[float, float]]


def measured(runner: Any, full: tuple[Tensor, ...], lead: tuple[int, ...], chunks: choose.Chunks,
             workers: int) -> tuple[Costs, tuple[int, ...]]:
    """Seconds of every operator, and the places of those that should run dense; within the runner's budget."""
    begin, segment = time.perf_counter(), runner.segment
    outputs = runner.empty(lead)
    external = [t.data_ptr() for t in (*full, *outputs)]
    kernel, moves = dict[int, float](), 0.0
    for width, count in chunks:
        program = runner.program(width, workers)
        for step, spent in zip(program.steps, profile.seconds(program, external, count, workers), strict=True):
            moves += spent if isinstance(step.spec, (Enter, Leave)) else 0
            if step.output is not None:
                kernel[step.output.id] = kernel.get(step.output.id, 0) + spent
    runner.clock.spent += time.perf_counter() - begin
    feature = moves / max(1, sum(v.size for v in (*segment.inputs, *segment.outputs)))
    weights = {k: op for k, op in enumerate(segment.ops) if op.weight is not None}
    torchs = {k: _torch(runner.clock, op, lead) for k, op in weights.items()}
    dense = pays(segment, {k: kernel[op.output.id] for k, op in weights.items()}, torchs, feature, PIECE)
    own = {op.output.id: torchs[k] for k, op in weights.items()}
    return {key: (spent, own.get(key, 0.0)) for key, spent in kernel.items()}, dense


def _torch(clock: choose.Clock, op: Op, lead: tuple[int, ...]) -> float:
    """Seconds of a layer in torch; where the budget is spent, of one call."""
    layer, x = Layer(op), choose.drawn((*lead, *op.inputs[0].shape))
    return clock.best(lambda: layer(x, lead), 0.001, 7)


def modelled(segment: Segment, chunks: choose.Chunks, rows: int) -> tuple[Costs, tuple[int, ...], bool]:
    """By the model: seconds of every layer, the places of those that should run dense, whether all should."""
    filled = sum(-(-count // width) * max(width, 4) for width, count in chunks)
    weights = {k: op for k, op in enumerate(segment.ops) if op.weight is not None}
    work = {k: op.settings.get("positions", 1) / RATE for k, op in weights.items()}
    kernel = {k: op.nonzeros * work[k] * WORSE * filled for k, op in weights.items()}
    dense = {k: op.weight.size * work[k] * rows for k, op in weights.items() if op.weight is not None}
    places = pays(segment, kernel, dense, MOVED * rows / RATE, PIECE)
    costs = {op.output.id: (kernel[k], dense[k]) for k, op in weights.items()}
    return costs, places, len(places) == len(weights) or sum(dense.values()) < sum(
        dense[k] if k in places else kernel[k] for k in weights)
