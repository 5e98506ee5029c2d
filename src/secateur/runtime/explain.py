"""What runs where: a row for every operator, as data, and the text made from the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from secateur.runtime.codegen.isa import Isa
from secateur.runtime.execute.segment import Runner, TileSchedule
from secateur.runtime.frontend.capture import Captured
from secateur.runtime.schedule.program import Step


@dataclass(frozen=True)
class Row:
    """One operator at one count of rows.

    ``segment`` is None for what torch runs outside of all plans; ``rows`` and ``threads`` are those of the
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


def rows(captured: Captured, runners: Sequence[Runner]) -> list[Row]:
    """Every operator, for every count of rows that was met."""
    found = [row for index, runner in enumerate(runners) for (count, threads), schedule in
             sorted(runner.schedules.items()) for row in _rows(index, runner, count, threads, schedule)]
    return found + [Row(node, "torch", "torch", refused=(("kernels", reason),)) for node, reason in captured.refused]


def _rows(index: int, runner: Runner, count: int, threads: int, schedule: TileSchedule) -> Iterator[Row]:
    own, torchs, total = schedule.costs, _against(schedule), _total(runner, schedule)
    steps = _steps(runner, schedule, threads)
    for place, op in enumerate(runner.segment.ops):
        if op.kind == "alias":
            continue
        dense = not schedule.chunks or place in schedule.dense
        spent = own.get(op.output.id, (0.0, 0.0))[int(dense)]
        share = spent / total if total and spent else None
        facts = {"segment": index, "rows": count, "threads": threads, "sparsity": op.sparsity, "share": share,
                 "dense_bytes": None if op.weight is None else op.weight.nbytes}
        if dense:
            against = torchs.get(op.output.id, "torch is faster for the whole segment")
            yield Row(op.name, op.kind, "torch, dense", refused=(("kernels", against),), **facts)  # type: ignore[arg-type]
            continue
        for width, step in steps.get(op.output.id, []):
            against = torchs.get(op.output.id, "not measured")
            why = (*step.refused, *([] if op.weight is None else [("torch, dense", against)]))
            size = None if step.packed is None else step.bytes
            kernel = step.kernel or type(step.spec).__name__.lower()
            yield Row(op.name, op.kind, kernel, width=width, bytes=size, refused=why, **facts)  # type: ignore[arg-type]


def _steps(runner: Runner, schedule: TileSchedule, threads: int) -> dict[int, list[tuple[int, Step]]]:
    """The main step of every operator in each program of a schedule, by the number of its output."""
    parts = [run for _, run in runner.mixed(schedule.dense).pieces if isinstance(run, Runner)] \
        if schedule.dense else [runner]
    found: dict[int, list[tuple[int, Step]]] = {}
    for part in parts:
        widths = {width for width, _ in schedule.chunks} | ({1} if schedule.dense else set())
        for (width, workers), program in sorted(part.programs.items()):
            mains = {s.output.id: s for s in program.steps if s.output is not None}
            if width in widths and workers == threads:
                for key, step in mains.items():
                    found.setdefault(key, []).append((width, step))
    return found


def _total(runner: Runner, schedule: TileSchedule) -> float:
    """The seconds of all operators as they run."""
    dense = {op.output.id for k, op in enumerate(runner.segment.ops) if k in schedule.dense or not schedule.chunks}
    return sum(pair[int(key in dense)] for key, pair in schedule.costs.items())


def _against(schedule: TileSchedule) -> dict[int, str]:
    """Kernel and torch beside each other in words, for every layer of which both are known."""
    how = "predicted" if schedule.seconds is None else "measured"
    return {key: f"{how} {kernel * 1e6:.3g} us on its kernel, {dense * 1e6:.3g} in torch"
            for key, (kernel, dense) in schedule.costs.items() if dense}


def explain(captured: Captured, runners: Sequence[Runner], isa: Isa) -> str:
    """The whole network's account."""
    lines = [f"instruction set {isa.name}; {len(runners)} compiled segments; "
             + ("any batch" if captured.dynamic else "the example's batch only, others in torch")]
    table = rows(captured, runners)
    for index, runner in enumerate(runners):
        for (count, threads), schedule in sorted(runner.schedules.items()):
            lines.append(f"segment {index}, batch {count}, threads {threads}: {describe(schedule)}"
                         + _times(schedule))
            lines.extend(line for row in table if (row.segment, row.rows, row.threads) == (index, count, threads)
                         for line in _lines(row))
    lines.extend(f"torch: {row.node}: {row.refused[0][1]}" for row in table if row.segment is None)
    return "\n".join(lines)


def _lines(row: Row) -> Iterator[str]:
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


def _times(schedule: TileSchedule) -> str:
    if schedule.seconds is None or schedule.dense_seconds is None:
        return ""
    return f"; measured {schedule.seconds * 1e6:.0f} us, torch {schedule.dense_seconds * 1e6:.0f} us"


def describe(schedule: TileSchedule) -> str:
    """A schedule in words."""
    if not schedule.chunks:
        return "torch"
    dense = f", {len(schedule.dense)} layers dense in torch" if schedule.dense else ""
    return " + ".join(f"{rows} rows in tiles of {width}" for width, rows in schedule.chunks) + dense

