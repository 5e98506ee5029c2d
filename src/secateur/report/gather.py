"""Gathers a run's rows into results: means and intervals over the seeds of every method and sparsity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.core import text
from secateur.core.errors import RunError
from secateur.experiment.row import Row
from secateur.experiment.run import RunData
from secateur.measure.noise import noise
from secateur.measure.speed import Speed, mean_speed, speed_of
from secateur.report.results import Cell, Curve, Dense, Method, Quantized, Results
from secateur.report.statistics import loss_of_accuracy, spread

_AVERAGED = ("items", "removed", "nonzeros", "flops_nonzero")


def gather_results(run: RunData) -> Results:
    """Gather the rows of a run.

    Raises:
        RunError: the run holds no trained network or no points.
    """
    if not run.trained or not run.points:
        raise RunError(f"run {run.folder}: {len(run.trained)} trained networks and {len(run.points)} points; "
                       "a report needs at least one of each (run the study again: it resumes where it stopped)")
    groups = _group(run.points)
    methods = [Method(g, c, s, any(r.control for r in rows), recovery=recovery,
                      needs_labels=any(r.needs_labels for r in rows), bits=bits)
               for (g, c, s, recovery, bits), rows in groups.items()]
    dense = _dense(run)
    # The uncut network's answers pair the test samples; a control may recover it into another network.
    whole = {r.seed: r for r in run.points if r.sparsity == 0 and r.correct is not None and r.recovery == "none"
             and r.bits == 32}
    curves = tuple(Curve(m, _cells(groups[m.granularity, m.criterion, m.scope, m.recovery, m.bits], run, whole, dense))
                   for m in _name_methods(_sort_methods(methods, run.config)))
    batches = tuple(sorted({b for row in run.points for b in row.latency or {}}, key=int))
    return Results(run, dense, curves, batches, float(run.config.get("tolerance", 0.005)), whole,
                   _quantized(run, whole, dense))


_Names = tuple[str, str, str, str, int]
"""Granularity, criterion, scope, recovery, bits."""


def _group(points: Sequence[Row]) -> dict[_Names, list[Row]]:
    """The rows by method; where nothing is cut of what is in fewer bits, there is none."""
    groups: dict[_Names, list[Row]] = defaultdict(list)
    for row in points:
        groups[row.granularity, row.criterion, row.scope, row.recovery, row.bits].append(row)
    return {names: rows for names, rows in groups.items() if not all(row.is_quantized_alone for row in rows)}


def _quantized(run: RunData, whole: dict[int, Row], dense: Dense) -> tuple[Quantized, ...]:
    """The uncut network in fewer bits: one row a seed, whichever method it belongs to, as it is the same network."""
    rows = {(row.bits, row.seed): row for row in reversed(run.points) if row.is_quantized_alone}
    accuracies = {t["seed"]: t["accuracy"] for t in run.trained}
    return tuple(Quantized(bits, _cell(0.0, [rows[key] for key in sorted(rows) if key[0] == bits], accuracies, whole,
                                       dense)) for bits in sorted({bits for bits, _ in rows}, reverse=True))


def _dense(run: RunData) -> Dense:
    """The uncut network: accuracies from training, latency as the median over the own references of the rows whose
    timings are not noisy, or of all where all are."""
    seconds = {quiet: defaultdict[str, list[float]](list) for quiet in (True, False)}
    for row in run.points:
        for batch, ways in (row.latency or {}).items():
            seconds[not noise(row.timing, batch).is_noisy][batch].append(ways["original"]["median"])
    parameters = fmean(t["parameters"] for t in run.trained)
    whole = [row.bytes_file or row.bytes for row in run.points if row.sparsity == 0 and row.bits == 32]
    return Dense(spread([t["accuracy"] for t in run.trained]), parameters, fmean(whole) if whole else 4 * parameters,
                 {b: float(np.median(v)) for b, v in {**seconds[False], **seconds[True]}.items()})


def _sort_methods(methods: Sequence[Method], config: dict[str, Any]) -> list[Method]:
    """The methods, weight before neuron before others, controls last, otherwise as the settings order them."""
    def place(name: str, values: Sequence[str]) -> tuple[int, str]:
        return (values.index(name) if name in values else len(values)), name

    def rank(m: Method) -> tuple[Any, ...]:
        order = ["weight", "neuron", *config.get("granularity", [])]
        return (place(m.granularity, order)[0], m.control, place(m.criterion, config.get("criterion") or []),
                place(m.scope, config.get("scope") or []), place(m.recovery, config.get("recovery") or ["none"]),
                -m.bits)

    return sorted(methods, key=rank)


def _name_methods(methods: Sequence[Method]) -> list[Method]:
    """The methods with the shortest names that tell them apart, and a tone each."""
    result, tones, twins = [], defaultdict[str, int](int), dict[Method, int]()
    for m in methods:
        rivals = [o for o in methods if o.granularity == m.granularity and o.control == m.control]
        parts = [text.noun(m.granularity)]
        criteria = {o.criterion for o in rivals if (o.scope, o.recovery) == (m.scope, m.recovery)}
        parts += [f"{m.criterion} (control)"] if m.control else [m.criterion] if len(criteria) > 1 else []
        parts += [f"scope {m.scope}"] if len({o.scope for o in rivals}) > 1 else []
        if len({o.recovery for o in rivals}) > 1 and (m.has_recovery or not m.control):
            parts += [_how(m, {o.recovery for o in rivals if o.has_recovery})]
        parts += [text.bits_name(m.bits)] if m.bits != 32 else []
        family = m.granularity if m.granularity in ("weight", "neuron") else "other"
        # A lone control is dashed in the colour of its granularity, so it takes no tone of its own.
        twin, lone = replace(m, bits=32), m.control and len({replace(o, bits=32) for o in rivals}) == 1
        tone = 0 if lone and family != "other" else twins.setdefault(twin, tones[family])
        tones[family] += not m.control and tone == tones[family]
        result.append(replace(m, name=", ".join(parts), tone=tone))
    return result


def _how(m: Method, recoveries: set[str]) -> str:
    """What was done after the cut, as the table of answers calls it; by its name where it is one of several."""
    if not m.has_recovery:
        return "plain"
    return "recovered" if recoveries in ({"best"}, {"refit"}) else f"{m.recovery} recovery"


def _cells(rows: Sequence[Row], run: RunData, whole: dict[int, Row], dense: Dense) -> tuple[Cell, ...]:
    """One cell a sparsity, rising."""
    by_sparsity: dict[float, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda r: (r.sparsity, r.seed)):
        by_sparsity[row.sparsity].append(row)
    accuracies = {t["seed"]: t["accuracy"] for t in run.trained}
    return tuple(_cell(s, group, accuracies, whole, dense) for s, group in by_sparsity.items())


def _cell(sparsity: float, rows: Sequence[Row], accuracies: dict[int, float], whole: dict[int, Row],
          dense: Dense) -> Cell:
    """Gather the rows of one method and sparsity, one a seed."""
    cost = loss_of_accuracy([accuracies[r.seed] for r in rows], [r.accuracy for r in rows],
                            correctness([whole.get(r.seed) for r in rows]), correctness(rows),
                            rows[0].tests, all(r.is_uncut for r in rows))
    return Cell(sparsity=sparsity, accuracy=spread([r.accuracy for r in rows]), loss=spread([r.loss for r in rows]),
                cost=cost, stored=fmean(_stored_bytes(r) for r in rows), speeds=_speeds(rows, dense), rows=tuple(rows),
                **{name: fmean(r[name] for r in rows) for name in _AVERAGED})


def _stored_bytes(row: Row) -> int:
    """The bytes of a row's file; in rows that do not have them those of its tensors, sparse where weights went."""
    return row.bytes_file or (row.bytes if row.granularity == "neuron" else row.bytes_sparse)


def correctness(rows: Sequence[Row | None]) -> NDArray[np.float64] | None:
    """Whether each test sample was classified right, ``(seeds, samples)``; None if not known for all seeds."""
    answers = [(np.frombuffer(r.correct, np.uint8), r.tests) for r in rows if r is not None and r.correct is not None]
    if len(answers) < len(rows) or len({tests for _, tests in answers}) != 1:
        return None
    return np.stack([np.unpackbits(bits, count=tests) for bits, tests in answers]).astype(np.float64)


def _speeds(rows: Sequence[Row], dense: Dense) -> dict[str, dict[str, Speed]]:
    """The timings: batch → way to run → speed."""
    timings: dict[str, dict[str, list[Speed]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for batch, ways in (row.latency or {}).items():
            for way in ways.keys() - {"original"}:
                timings[batch][way].append(speed_of(row.timing, batch, way))
    return {batch: {way: mean_speed(found, dense.seconds[batch]) for way, found in sorted(timings[batch].items())}
            for batch in sorted(timings, key=int)}
