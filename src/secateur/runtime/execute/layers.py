"""The cost of each operator of a segment, on its kernel and in torch, and which operators should run dense in torch."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from secateur.runtime.codegen.kernels.transpose import Enter, Leave
from secateur.runtime.execute.runner import step_seconds
from secateur.runtime.ops import Op, Segment
from secateur.runtime.schedule import choose
from secateur.runtime.schedule.clock import Clock
from secateur.runtime.schedule.mixed import TorchLayer, dense_layers

_PIECE_SECONDS = 1e-5
"""Seconds that one more piece costs: a call from Python, an output to allocate."""
_TORCH_RATE = 5e10
"""Multiply-adds a second of torch's dense layers, for the model: only ratios matter."""
_KERNEL_COST = 1.4
"""The cost of a kernel's multiply-add, in dense multiply-adds, by the model."""
_MOVE_COST = 4
"""The cost of bringing a value into a program, or out of it, in dense multiply-adds, by the model."""

Costs = dict[int, tuple[float, float]]


def measure_costs(runner: Any, full: tuple[Tensor, ...], lead: tuple[int, ...], chunks: choose.Chunks,
             workers: int) -> tuple[Costs, tuple[int, ...]]:
    """The measured seconds of every operator, and the indices of those that should run dense; within the budget."""
    segment = runner.segment
    outputs = runner.empty(lead)
    external = [t.data_ptr() for t in (*full, *outputs)]
    kernel, moves = dict[int, float](), 0.0
    for width, count in chunks:
        program = runner.program(width, workers)
        for step, spent in zip(program.steps, step_seconds(program, external, count, workers, runner.clock),
                               strict=True):
            moves += spent if isinstance(step.spec, (Enter, Leave)) else 0
            if step.output is not None:
                kernel[step.output.id] = kernel.get(step.output.id, 0) + spent
    feature = moves / max(1, sum(v.size for v in (*segment.inputs, *segment.outputs)))
    weights = {k: op for k, op in enumerate(segment.ops) if op.weight is not None}
    torchs = {k: _torch_seconds(runner.clock, op, lead) for k, op in weights.items()}
    kernels = {k: kernel[op.output.id] for k, op in weights.items()}
    dense = dense_layers(segment, kernels, torchs, feature, _PIECE_SECONDS)
    own = {op.output.id: torchs[k] for k, op in weights.items()}
    return {key: (spent, own.get(key, 0.0)) for key, spent in kernel.items()}, dense


def _torch_seconds(clock: Clock, op: Op, lead: tuple[int, ...]) -> float:
    """Seconds of a layer in torch."""
    layer, x = TorchLayer(op), choose.random_input((*lead, *op.inputs[0].shape))
    return clock.contest(lambda: layer(x, lead), min_seconds=0.001, rounds=7)[0]


def estimate_costs(segment: Segment, chunks: choose.Chunks, rows: int) -> tuple[Costs, tuple[int, ...], bool]:
    """By the model: the seconds of every layer, the indices of those that should run dense, and whether all should."""
    filled = sum(-(-count // width) * max(width, 4) for width, count in chunks)
    weights = {k: op for k, op in enumerate(segment.ops) if op.weight is not None}
    work = {k: op.settings.get("positions", 1) / _TORCH_RATE for k, op in weights.items()}
    kernel = {k: op.nonzeros * work[k] * _KERNEL_COST * filled for k, op in weights.items()}
    dense = {k: op.weight.size * work[k] * rows for k, op in weights.items() if op.weight is not None}
    places = dense_layers(segment, kernel, dense, _MOVE_COST * rows / _TORCH_RATE, _PIECE_SECONDS)
    costs = {op.output.id: (kernel[k], dense[k]) for k, op in weights.items()}
    return costs, places, len(places) == len(weights) or sum(dense.values()) < sum(
        dense[k] if k in places else kernel[k] for k in weights)
