"""What runs where, in words: one line a step, one line a refusal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from secateur.runtime.capture import Captured
from secateur.runtime.isa import Isa
from secateur.runtime.ops import Op
from secateur.runtime.segment import Runner, describe


def explain(captured: Captured, runners: Sequence[Runner], isa: Isa) -> str:
    """The whole network's account."""
    lines = [f"instruction set {isa.name}; {len(runners)} compiled segments; "
             + ("any batch" if captured.dynamic else "the example's batch only, others in torch")]
    for index, runner in enumerate(runners):
        lines.extend(_segment(index, runner))
    lines.extend(f"torch: {node}: {reason}" for node, reason in captured.refused)
    return "\n".join(lines)


def _segment(index: int, runner: Runner) -> Iterator[str]:
    for (rows, workers), schedule in sorted(runner.schedules.items()):
        times = "" if schedule.seconds is None or schedule.dense_seconds is None else (
            f"; measured {schedule.seconds * 1e6:.0f} us, torch {schedule.dense_seconds * 1e6:.0f} us")
        yield f"segment {index}, batch {rows}, threads {workers}: {describe(schedule)}{times}"
    shares = _shares(runner.segment.ops)
    for (width, workers), program in sorted(runner.programs.items()):
        yield f"segment {index}, tiles of {width}, threads {workers}: {program.bytes} bytes packed"
        for step in program.steps:
            if step.packed is not None:
                facts = _facts(runner.segment.ops, step)
                yield f"  {step.label}: {step.kernel}; {facts}; {shares[step.label]:.0%} of the multiplications"


def _facts(ops: Sequence[Op], step: Any) -> str:
    op = next(op for op in ops if op.name == step.label and op.weight is not None)
    assert op.weight is not None
    return f"sparsity {op.sparsity:.4f}, {step.bytes} bytes of {op.weight.nbytes} dense"


def _shares(ops: Sequence[Op]) -> dict[str, float]:
    work = {op.name: float(op.nonzeros * op.settings.get("positions", 1)) for op in ops if op.weight is not None}
    total = sum(work.values()) or 1.0
    return {name: amount / total for name, amount in work.items()}
