"""The results of a benchmark in one sentence: which engine is fastest at which batch, and whether the cut pays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from secateur.core.text import capital, join_words, times
from secateur.measure.speed import pace

_PAYS = {"faster": "the cut pays at batch", "even": "it neither pays nor costs at batch",
         "slower": "it does NOT pay at batch", "unknown": "whether it pays is not known at batch"}


def verdict(results: dict[str, Any]) -> str:
    """The results of :func:`secateur.bench.bench` in one sentence: the fastest engines, then whether the cut pays.

    Zeros pay where the compiled network beats every engine that multiplies by them; removed neurons pay where the
    smaller network in torch beats the one before the cut in torch. What another engine gains is not the cut's gain.
    """
    counts = sorted({p["threads"] for p in results["points"]})
    parts = []
    for threads in counts:
        cases = _by_batch([p for p in results["points"] if p["threads"] == threads])
        where = "" if counts == [1] else f"on {threads} thread{'s' * (threads > 1)} "
        parts.append(f"{where}{_describe_fastest(cases, results)}; {_describe_gain(cases, results['network']['cut'])}")
    return capital("; ".join(parts)) + "."


def _by_batch(points: list[dict[str, Any]]) -> dict[int, dict[str, dict[str, Any]]]:
    """Points of one count of threads by batch and engine."""
    results: dict[int, dict[str, dict[str, Any]]] = {}
    for p in points:
        results.setdefault(p["batch"], {})[p["engine"]] = p
    return results


def speed(point: dict[str, Any]) -> float:
    """How many times faster a point is than the engine that it is compared with: the ratio that the table shows."""
    return float(point.get("speedup", 1.0))


def quickest(points: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The fastest of some points of one batch and count of threads."""
    return max(points, key=lambda p: (speed(p), -p["p50"]))


def title(results: dict[str, Any], engine: str) -> str:
    """An engine's name for readers: without neurons the network is smaller, without weights it has zeros."""
    name: str = results["engines"][engine]["title"]
    return name.replace("cut, torch", {"neuron": "smaller, torch", "weight": "zeroed, torch"}.get(
        results["network"]["cut"], "cut, torch"))


def _describe_fastest(cases: dict[int, dict[str, dict[str, Any]]], results: dict[str, Any]) -> str:
    """Which engine is fastest at which batches."""
    wins: dict[str, list[str]] = {}
    for batch, case in cases.items():
        best = quickest(case.values())
        name, base = best["engine"], best["against"]
        over = "" if name == base else f" ({times(speed(best))} {base})"
        wins.setdefault(name, []).append(f"{batch}{over}")
    first, *rest = [f"'{title(results, name)}'{{}} at batch {join_words(at)}" for name, at in wins.items()]
    return join_words([first.format(" is fastest"), *(other.format("") for other in rest)])


def _describe_gain(cases: dict[int, dict[str, dict[str, Any]]], cut: str) -> str:
    """At which batches the cut pays and at which it does not, with the ratios."""
    if not cut:
        return "nothing was cut"
    groups: dict[str, list[str]] = {}
    for batch, case in cases.items():
        word, ratio = gain(case, cut)
        groups.setdefault(word, []).append(f"{batch}{ratio}")
    parts = [f"{_PAYS[g]} {join_words(groups[g])}" for g in _PAYS if g in groups]
    if parts[0].startswith("it "):
        parts[0] = parts[0].replace("it ", "the cut ", 1)
    return ", but ".join(parts)


def gain(case: dict[str, dict[str, Any]], cut: str) -> tuple[str, str]:
    """Whether the cut pays at one batch, and the ratio in words; ``unknown`` where too little was timed.

    The fastest engine that gains by the cut is compared with the fastest one that does not.
    """
    ours = ("zeroed",) if cut == "neuron" else ("sparse",)
    with_cut = [case[n] for n in ours if n in case]
    against = [p for n, p in case.items() if (n == "dense" if cut == "neuron" else n not in ours)]
    if not with_cut or not against:
        return "unknown", ""
    other = quickest(against)
    ratio = speed(quickest(with_cut)) / speed(other)
    return pace(ratio), f" ({times(ratio)} {other['engine']})"
