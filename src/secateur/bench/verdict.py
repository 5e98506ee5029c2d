"""The results of a benchmark in one sentence: which engine is fastest at which batch, and whether the cut pays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from secateur.bench.points import CUT, ORIGINAL, name_of, run_of
from secateur.core.text import capital, join_words, times
from secateur.measure.speed import Speed, in_words, pace

Points = Sequence[dict[str, Any]]
_FULL = "float32"
_PAYS = {"faster": "the cut pays at batch", "even": "it neither pays nor costs at batch",
         "slower": "it does NOT pay at batch", "unknown": "whether it pays is not known at batch"}
_ALONE = "the original was not timed, so whether the cut pays is not known"


def verdict(results: dict[str, Any]) -> str:
    """The results of :func:`secateur.bench.bench` in one sentence: the fastest engines, then whether the cut pays.

    The cut pays where the cut network in its fastest engine beats the original in *its* fastest engine, both in
    float32; see :func:`gain`. Engines in less precision are named beside that, where they are faster.
    """
    counts = sorted({p["threads"] for p in results["points"]})
    parts = []
    for threads in counts:
        cases = _by_batch([p for p in results["points"] if p["threads"] == threads])
        where = "" if counts == [1] else f"on {threads} thread{'s' * (threads > 1)} "
        says = (_describe_fastest(cases, results), _describe_gain(cases, results["network"]["cut"]),
                _describe_rounded(cases, results))
        parts.append(where + "; ".join(filter(None, says)))
    return capital("; ".join(parts)) + "."


def _by_batch(points: Points) -> dict[int, Points]:
    """Points of one count of threads by batch."""
    return {batch: [p for p in points if p["batch"] == batch] for batch in dict.fromkeys(p["batch"] for p in points)}


def speed(point: dict[str, Any]) -> float:
    """How many times faster a point is than the run that it is compared with: the ratio that the table shows."""
    return float(point.get("speedup", 1.0))


def quickest(points: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The fastest of some points of one batch and count of threads."""
    return max(points, key=lambda p: (speed(p), -p["p50"]))


def title(results: dict[str, Any], point: dict[str, Any]) -> str:
    """The network, the engine and, where it is not float32, the precision of a point, for readers."""
    name: str = results["engines"][point["engine"]]["title"]
    if "network" not in point:  # version 1, where the title names the network
        kind = {"neuron": "smaller, torch", "weight": "zeroed, torch"}
        return name.replace("cut, torch", kind.get(results["network"]["cut"], "cut, torch"))
    return ", ".join([point["network"], name, *([] if is_full(point) else [point["precision"]])])


def is_full(point: dict[str, Any]) -> bool:
    """Whether a point was computed in float32; other precisions are since version 2."""
    return bool(point.get("precision", _FULL) == _FULL)


def _describe_fastest(cases: dict[int, Points], results: dict[str, Any]) -> str:
    """Which engine is fastest at which batches, in float32."""
    wins: dict[str, list[str]] = {}
    for batch, case in cases.items():
        if full := [*filter(is_full, case)]:
            best = quickest(full)
            over = "" if name_of(best) == best["against"] else f" ({times(speed(best))} {best['against']})"
            wins.setdefault(title(results, best), []).append(f"{batch}{over}")
    if not wins:
        return "no engine ran in float32"
    first, *rest = [f"'{name}'{{}} at batch {join_words(at)}" for name, at in wins.items()]
    return join_words([first.format(" is fastest"), *(other.format("") for other in rest)])


def _describe_rounded(cases: dict[int, Points], results: dict[str, Any]) -> str:
    """Which engines are faster than all in float32 because they compute in less; empty where none is."""
    ratios: dict[str, list[str]] = {}
    for batch, case in cases.items():
        full = [*filter(is_full, case)]
        for p in case:
            found = _ratio(p, quickest(full or case))
            if not is_full(p) and pace(found.ratio, found.low, found.high) == "faster":
                ratios.setdefault(title(results, p), []).append(f"{times(found.ratio)} at batch {batch}")
    parts = [f"'{name}' ({join_words(at)})" for name, at in ratios.items()]
    return f"faster than these, but with less precision than float32: {join_words(parts)}" if parts else ""


def _describe_gain(cases: dict[int, Points], cut: str) -> str:
    """At which batches the cut pays and at which it does not, with the ratios."""
    if not cut:
        return "nothing was cut"
    if not any(run_of(p, cut).network == ORIGINAL for case in cases.values() for p in case):
        return _ALONE
    groups: dict[str, list[str]] = {}
    for batch, case in cases.items():
        word, ratio = gain(case, cut)
        groups.setdefault(word, []).append(f"{batch}{ratio}")
    parts = [f"{_PAYS[g]} {join_words(groups[g])}" for g in _PAYS if g in groups]
    if parts[0].startswith("it "):
        parts[0] = parts[0].replace("it ", "the cut ", 1)
    return ", but ".join(parts)


def gain(case: Points, cut: str) -> tuple[str, str]:
    """Whether the cut pays at one batch, and the ratio in words; ``unknown`` where too little was timed.

    The cut network in its fastest engine is compared with the original in its own. Where neurons were cut, an engine
    counts for the cut network only if it ran the original too: else its own gain would pass for the cut's. Where
    weights were cut, an engine that does not use zeros runs both networks at one speed and stands on the original's
    side, so that a ratio under 1 says how far the engines that use them are behind.
    """
    full = [*filter(is_full, case)]
    originals = [p for p in full if run_of(p, cut).network == ORIGINAL]
    engines = {_engine(p) for p in originals}
    cuts = [p for p in full if run_of(p, cut).network == CUT and (cut != "neuron" or _engine(p) in engines)]
    if not cuts or not originals:
        return "unknown", ""
    other = quickest(originals)
    found = _ratio(quickest(cuts), other)
    return pace(found.ratio, found.low, found.high), f" ({in_words(found)} {name_of(other)})"


def _engine(point: dict[str, Any]) -> str:
    """An engine's name; version 1 called torch ``dense`` before the cut and ``zeroed`` after it."""
    return "dense" if point["engine"] == "zeroed" else str(point["engine"])


def _ratio(point: dict[str, Any], other: dict[str, Any]) -> Speed:
    """How many times faster a point is than another: the median of the rounds' ratios, with quartiles.

    Version 1 keeps no rounds: the ratio is that of the table, its quartiles the ratio itself.
    """
    if "rounds" not in point:
        ratio = speed(point) / speed(other)
        return Speed(point["p50"], ratio, ratio, ratio)
    low, ratio, high = (float(q) for q in np.percentile(np.divide(other["rounds"], point["rounds"]), [25, 50, 75]))
    return Speed(point["p50"], ratio, low, high)
