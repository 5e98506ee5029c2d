"""The results of a benchmark in one sentence: which engine is fastest at which batch, and whether the cut pays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from secateur.bench.points import CUT, ORIGINAL, name_of, run_of
from secateur.bench.rounded import counts, is_full
from secateur.core.text import capital, join_words, times
from secateur.measure.speed import Speed, in_words, pace

Points = Sequence[dict[str, Any]]
_INSTEAD = {"int8": "quantise, do not prune,", "bfloat16": "use bfloat16, do not prune,",
            "float16": "use float16, do not prune,"}
"""What to do where the original in less precision is faster than the cut network in any."""
_PAYS = {"faster": "the cut pays at batch", "even": "it neither pays nor costs at batch",
         "slower": "it does NOT pay at batch", **{name: f"{words} at batch" for name, words in _INSTEAD.items()},
         "unknown": "whether it pays is not known at batch"}
_ALONE = "the original was not timed, so whether the cut pays is not known"


def verdict(results: dict[str, Any]) -> str:
    """The results of :func:`secateur.bench.bench` in one sentence: the fastest engines, then whether the cut pays.

    Engines of every precision take part whose outputs are within the tolerance (:mod:`secateur.bench.rounded`). The
    cut pays where the cut network in its fastest engine beats the original in *its* fastest engine, see :func:`gain`;
    where the latter is in int8, quantising alone is the better way. What holds in float32 alone is said besides.
    """
    counted = sorted({p["threads"] for p in results["points"]})
    parts = []
    for threads in counted:
        cases = _by_batch([p for p in results["points"] if p["threads"] == threads and counts(p)])
        where = "" if counted == [1] else f"on {threads} thread{'s' * (threads > 1)} "
        parts.append(where + "; ".join(filter(None, _sentences(cases, results))))
    return capital("; ".join(parts)) + "."


def _sentences(cases: dict[int, Points], results: dict[str, Any]) -> Iterator[str]:
    """Which engines are fastest and whether the cut pays, then the same in float32 alone, where others took part."""
    cut, fastest = results["network"]["cut"], _describe_fastest(cases, results)
    yield fastest
    yield _describe_gain(cases, cut)
    full: dict[int, Points] = {batch: [*filter(is_full, case)] for batch, case in cases.items()}
    if full != cases and any(full.values()):
        again = _describe_fastest(full, results)
        said = [*([again] if again != fastest else []), *([_describe_gain(full, cut)] if cut else [])]
        yield f"in float32 alone {', and '.join(said)}" if said else ""


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


def _describe_fastest(cases: dict[int, Points], results: dict[str, Any]) -> str:
    """Which engine is fastest at which batches."""
    wins: dict[str, list[str]] = {}
    for batch, case in cases.items():
        if case:
            best = quickest(case)
            over = "" if name_of(best) == best["against"] else f" ({times(speed(best))} {best['against']})"
            wins.setdefault(title(results, best), []).append(f"{batch}{over}")
    if not wins:
        return "no engine's outputs are within the tolerance"
    first, *rest = [f"'{name}'{{}} at batch {join_words(at)}" for name, at in wins.items()]
    return join_words([first.format(" is fastest"), *(other.format("") for other in rest)])


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

    Where the cut is slower and the fastest original is in less precision than float32, that precision is given instead.

    The cut network in its fastest engine is compared with the original in its own. Where neurons were cut, an engine
    counts for the cut network only if it ran the original too: else its own gain would pass for the cut's. Where
    weights were cut, an engine that does not use zeros runs both networks at one speed and stands on the original's
    side, so that a ratio under 1 says how far the engines that use them are behind.
    """
    originals = [p for p in case if run_of(p, cut).network == ORIGINAL]
    engines = {_engine(p) for p in originals}
    cuts = [p for p in case if run_of(p, cut).network == CUT and (cut != "neuron" or _engine(p) in engines)]
    if not cuts or not originals:
        return "unknown", ""
    other = quickest(originals)
    found = _ratio(quickest(cuts), other)
    word = pace(found.ratio, found.low, found.high)
    if word == "slower" and not is_full(other):
        return other["precision"], f" (the cut: {in_words(found)} {name_of(other)})"
    return word, f" ({in_words(found)} {name_of(other)})"


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
