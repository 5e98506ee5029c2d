"""Gathers a run's points into a digest."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.core import text
from secateur.core.errors import RunError
from secateur.experiment.run import RunData
from secateur.measure.speed import Speed
from secateur.report.results import Cell, Curve, Dense, Digest, Method, Point
from secateur.report.statistics import geometric, loss_of_accuracy, spread

AVERAGED = ("reached", "items", "removed", "parameters", "nonzeros", "bytes", "bytes_sparse", "flops", "flops_nonzero")


def digest(run: RunData) -> Digest:
    """Gather the points of a run.

    Raises:
        RunError: the run holds no trained network or no points.
    """
    if not run.trained or not run.points:
        raise RunError(f"run {run.folder}: {len(run.trained)} trained networks and {len(run.points)} points; "
                       "a report needs at least one of each (start the study again, it goes on where it was)")
    dense = dense_of(run)
    batches = tuple(sorted({b for p in run.points for b in p.get("latency") or {}}, key=int))
    groups: dict[tuple[str, str, str, str], list[Point]] = defaultdict(list)
    for point in run.points:
        groups[point["granularity"], point["criterion"], point["scope"], point.get("recovery", "none")].append(point)
    curves = tuple(Curve(m, cells(groups[m.granularity, m.criterion, m.scope, m.recovery], run, dense))
                   for m in named(methods_of(groups, run.config)))
    return Digest(run, dense, curves, batches, float(run.config.get("tolerance", 0.005)))


def dense_of(run: RunData) -> Dense:
    """The uncut network: accuracies from training, latency as the median over every point's reference."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for point in run.points:
        for batch, variants in (point.get("latency") or {}).items():
            seconds[batch].append(variants["original"]["median"])
    parameters = float(np.mean([t["parameters"] for t in run.trained]))
    whole = [p.get("bytes_file", p["bytes"]) for p in run.points if p["sparsity"] == 0]
    return Dense(spread([t["accuracy"] for t in run.trained]), spread([t["loss"] for t in run.trained]), parameters,
                 float(np.mean(whole)) if whole else 4 * parameters,
                 {b: float(np.median(v)) for b, v in seconds.items()})


def methods_of(groups: dict[tuple[str, str, str, str], list[Point]], config: dict[str, Any]) -> list[Method]:
    """The methods, weight before neuron before others, controls last, otherwise as the settings order them."""
    order = ["weight", "neuron", *config.get("granularity", [])]
    wanted, scopes = list(config.get("criterion") or []), list(config.get("scope") or [])
    recoveries = list(config.get("recovery") or ["none"])
    methods = [Method(g, c, s, any(p["control"] for p in points), recovery=r)
               for (g, c, s, r), points in groups.items()]

    def rank(m: Method) -> tuple[Any, ...]:
        return (order.index(m.granularity) if m.granularity in order else len(order), m.control,
                wanted.index(m.criterion) if m.criterion in wanted else len(wanted), m.criterion,
                scopes.index(m.scope) if m.scope in scopes else len(scopes), m.scope,
                recoveries.index(m.recovery) if m.recovery in recoveries else len(recoveries), m.recovery)

    return sorted(methods, key=rank)


def named(methods: Sequence[Method]) -> list[Method]:
    """The methods with the shortest names that tell them apart."""
    result, tones = [], defaultdict[str, int](int)
    for m in methods:
        rivals = [o for o in methods if o.granularity == m.granularity and o.control == m.control]
        parts = [text.noun(m.granularity)]
        alike = {o.criterion for o in rivals if (o.scope, o.recovery) == (m.scope, m.recovery)}
        parts += [f"{m.criterion} (control)"] if m.control else [m.criterion] if len(alike) > 1 else []
        parts += [f"scope {m.scope}"] if len({o.scope for o in rivals}) > 1 else []
        named = len({o.recovery for o in rivals}) > 1 and (m.recovered or not m.control)
        parts += [f"{m.recovery} recovery" if m.recovered else "plain"] if named else []
        family = m.granularity if m.granularity in ("weight", "neuron") else "other"
        tone = 0 if m.control and len(rivals) == 1 and family != "other" else tones[family]
        tones[family] += not m.control
        result.append(replace(m, name=", ".join(parts), tone=tone))
    return result


def cells(points: Sequence[Point], run: RunData, dense: Dense) -> tuple[Cell, ...]:
    """One cell a sparsity, rising."""
    by_sparsity: dict[float, list[Point]] = defaultdict(list)
    for point in sorted(points, key=lambda p: (p["sparsity"], p["seed"])):
        by_sparsity[point["sparsity"]].append(point)
    whole = {p["seed"]: p for p in run.points if p["sparsity"] == 0 and p.get("correct") is not None
             and p.get("recovery", "none") == "none"}
    accuracies = {t["seed"]: t["accuracy"] for t in run.trained}
    return tuple(cell(s, group, accuracies, whole, dense) for s, group in by_sparsity.items())


def cell(sparsity: float, points: Sequence[Point], accuracies: dict[int, float], whole: dict[int, Point],
         dense: Dense) -> Cell:
    """Gather the points of one method and sparsity, one a seed."""
    seeds = [p["seed"] for p in points]
    cost = loss_of_accuracy([accuracies[s] for s in seeds], [p["accuracy"] for p in points],
                            correctness([whole.get(s) for s in seeds]), correctness(points))
    return Cell(sparsity=sparsity, seeds=tuple(seeds), accuracy=spread([p["accuracy"] for p in points]),
                loss=spread([p["loss"] for p in points]), cost=cost, speed=speeds(points, dense), points=tuple(points),
                stored=float(np.mean([stored(p) for p in points])),
                **{k: float(np.mean([p[k] for p in points])) for k in AVERAGED})


def stored(point: Point) -> float:
    """The bytes of a point's file; in rows that do not have them those of its tensors, sparse where weights went."""
    tensors = point["bytes" if point["granularity"] == "neuron" else "bytes_sparse"]
    return float({"bytes_file": tensors, **point}["bytes_file"])


def correctness(points: Sequence[Point | None]) -> NDArray[np.float64] | None:
    """Whether each test sample was classified right, ``(seeds, samples)``; None if not known for all seeds."""
    known = [p for p in points if p is not None and p.get("correct") is not None]
    if len(known) < len(points) or len({p["tests"] for p in known}) != 1:
        return None
    return np.stack([np.unpackbits(np.frombuffer(p["correct"], np.uint8), count=p["tests"]) for p in known]).astype(
        np.float64)


def speeds(points: Sequence[Point], dense: Dense) -> dict[str, dict[str, Speed]]:
    """The timings: batch → variant → speed, where every seed has them."""
    timed = [p["latency"] for p in points if p.get("latency")]
    result: dict[str, dict[str, Speed]] = {}
    for batch in sorted({b for t in timed for b in t}, key=int):
        variants = {v for t in timed for v in t.get(batch, {}) if v != "original"}
        result[batch] = {v: speed([t[batch][v] for t in timed if v in t.get(batch, {})], dense.seconds[batch])
                         for v in sorted(variants)}
    return result


def speed(timings: Sequence[dict[str, float]], original: float) -> Speed:
    """One variant over the seeds."""
    ratio, low, high = (geometric([t[k] for t in timings]) for k in ("speedup", "speedup_low", "speedup_high"))
    return Speed(original / ratio if ratio else math.inf, ratio, low, high)
