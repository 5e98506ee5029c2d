"""What runs where: a row for every operator, as data, and the text made from the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from secateur.runtime.codegen.isa import Isa
from secateur.runtime.execute.segment import Runner
from secateur.runtime.frontend.capture import Captured
from secateur.runtime.schedule.program import KernelStep
from secateur.runtime.schedule.tile_schedule import TileSchedule


@dataclass(frozen=True)
class OperatorRow:
    """One operator at one count of rows.

    ``segment`` is None for what torch runs outside of all segments; ``rows`` and ``threads`` are those of the
    call, ``width`` the batch rows of a tile (0: torch). ``share`` is the measured or, with budget 0, predicted
    fraction of the segment's time; ``refused`` names every other kernel with the reason why not.
    """

    node: str
    kind: str
    kernel: str
    segment: int | None = None
    rows: int = 0
    threads: int = 0
    width: int = 0
    sparsity: float | None = None
    bytes: int | None = None
    dense_bytes: int | None = None
    share: float | None = None
    refused: tuple[tuple[str, str], ...] = ()


def rows(captured: Captured, runners: Sequence[Runner]) -> list[OperatorRow]:
    """Every operator, for every count of rows that was met."""
    found = [row for index, runner in enumerate(runners) for (count, threads), schedule in
             sorted(runner.schedules.items()) for row in _rows(index, runner, count, threads, schedule)]
    return found + [OperatorRow(node, "torch", "torch", refused=(("kernels", reason),))
                    for node, reason in captured.refused]


def _rows(index: int, runner: Runner, count: int, threads: int, schedule: TileSchedule) -> Iterator[OperatorRow]:
    """The operators of one segment at one count of rows."""
    ops, how = runner.segment.ops, "predicted" if schedule.seconds is None else "measured"
    steps = _steps(runner, schedule, threads)
    in_torch = {op.output.id for k, op in enumerate(ops) if k in schedule.dense or not schedule.chunks}
    total = sum(pair[key in in_torch] for key, pair in schedule.costs.items())
    for op in ops:
        if op.kind == "alias":
            continue
        key = op.output.id
        kernel, dense = schedule.costs.get(key, (0.0, 0.0))
        spent = dense if key in in_torch else kernel
        against = f"{how} {kernel * 1e6:.3g} us on its kernel, {dense * 1e6:.3g} in torch" if dense else None
        row = partial(OperatorRow, op.name, op.kind, segment=index, rows=count, threads=threads, sparsity=op.sparsity,
                      share=spent / total if total and spent else None,
                      dense_bytes=None if op.weight is None else op.weight.nbytes)
        if key in in_torch:
            yield row("torch, dense", refused=(("kernels", against or "torch is faster for the whole segment"),))
            continue
        torch_refused = [] if op.weight is None else [("torch, dense", against or "not measured")]
        for width, step in steps.get(key, []):
            yield row(step.kernel or type(step.spec).__name__.lower(), width=width,
                      bytes=None if step.packed is None else step.bytes, refused=(*step.refused, *torch_refused))


def _steps(runner: Runner, schedule: TileSchedule, threads: int) -> dict[int, list[tuple[int, KernelStep]]]:
    """The main step of every operator in each program of a schedule, with the program's width, by output number."""
    parts, widths = [runner], {width for width, _ in schedule.chunks}
    if schedule.dense:
        parts = [run for _, run in runner.mixture(schedule.dense).pieces if isinstance(run, Runner)]
        widths.add(1)
    found: dict[int, list[tuple[int, KernelStep]]] = {}
    for part in parts:
        for (width, workers), program in sorted(part.programs.items()):
            mains = {s.output.id: s for s in program.steps if s.output is not None}
            if width in widths and workers == threads:
                for key, step in mains.items():
                    found.setdefault(key, []).append((width, step))
    return found


def explain(captured: Captured, runners: Sequence[Runner], isa: Isa) -> str:
    """The whole network in words: one line a segment and count of rows, and below it one an operator."""
    lines = [f"instruction set {isa.name}; {len(runners)} compiled segments; "
             + ("any batch" if captured.dynamic else "the example's batch size only, others in torch")]
    for index, runner in enumerate(runners):
        for (count, threads), schedule in sorted(runner.schedules.items()):
            lines.append(f"segment {index}, batch {count}, threads {threads}: {_describe(schedule)}")
            lines.extend(line for row in _rows(index, runner, count, threads, schedule) for line in _lines(row))
    lines.extend(f"torch: {node}: {reason}" for node, reason in captured.refused)
    return "\n".join(lines)


def _lines(row: OperatorRow) -> Iterator[str]:
    tile = f", tiles of {row.width}" if row.width else ""
    facts = [f"  {row.node or 'network'} ({row.kind}): {row.kernel}{tile}"]
    if row.sparsity is not None:
        packed = "" if row.bytes is None else f"{row.bytes} bytes of "
        facts.append(f"sparsity {row.sparsity:.4f}, {packed}{row.dense_bytes} dense")
    if row.share is not None:
        facts.append(f"{row.share:.0%} of the time")
    yield "; ".join(facts)
    for name, reason in row.refused:
        yield f"    not {name}: {reason}"


def _describe(schedule: TileSchedule) -> str:
    """A schedule in words, with the measured times where there are any."""
    dense = f", {len(schedule.dense)} layers dense in torch" if schedule.dense else ""
    text = " + ".join(f"{rows} rows in tiles of {width}" for width, rows in schedule.chunks) + dense or "torch"
    if schedule.seconds is None or schedule.dense_seconds is None:
        return text
    return f"{text}; measured {schedule.seconds * 1e6:.0f} us, torch {schedule.dense_seconds * 1e6:.0f} us"
