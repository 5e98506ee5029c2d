"""Who is fastest at which batch, and whether the cut pays, in one sentence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from secateur.core.text import capital, listed, times
from secateur.measure.speed import pace

PAYS = {"faster": "the cut pays at batch", "even": "it neither pays nor costs at batch",
        "slower": "it does NOT pay at batch", "unknown": "whether it pays is not known at batch"}


def verdict(found: dict[str, Any]) -> str:
    """One sentence of the results of :func:`secateur.bench.bench`: the fastest engines, then whether the cut pays.

    Zeros pay where the compiled network beats every engine that multiplies by them; removed neurons pay where the
    smaller network in torch beats the one before the cut in torch: what another engine wins is not the cut's.
    """
    counts = sorted({p["threads"] for p in found["points"]})
    parts = []
    for threads in counts:
        cases = by_batch([p for p in found["points"] if p["threads"] == threads])
        where = "" if counts == [1] else f"on {threads} thread{'s' * (threads > 1)} "
        parts.append(f"{where}{fastest(cases, found)}; {pays(cases, found['network']['cut'])}")
    return capital("; ".join(parts)) + "."


def by_batch(points: list[dict[str, Any]]) -> dict[int, dict[str, dict[str, Any]]]:
    """Points of one count of threads by batch and engine."""
    found: dict[int, dict[str, dict[str, Any]]] = {}
    for p in points:
        found.setdefault(p["batch"], {})[p["engine"]] = p
    return found


def speed(point: dict[str, Any]) -> float:
    """How many times faster than the engine that it is held against, as the table has it: the rounds' own ratio."""
    return float(point.get("speedup", 1.0))


def quickest(points: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The fastest of some points of one batch and count of threads."""
    return max(points, key=lambda p: (speed(p), -p["p50"]))


def title(found: dict[str, Any], engine: str) -> str:
    """An engine's name for a reader: a network whose neurons went is small, one whose weights went has zeros."""
    name: str = found["engines"][engine]["title"]
    return name.replace("cut, torch", {"neuron": "smaller, torch", "weight": "zeroed, torch"}.get(
        found["network"]["cut"], "cut, torch"))


def fastest(cases: dict[int, dict[str, dict[str, Any]]], found: dict[str, Any]) -> str:
    """Which engine is fastest where."""
    wins: dict[str, list[str]] = {}
    for batch, case in cases.items():
        best = quickest(case.values())
        name, base = best["engine"], best["against"]
        over = "" if name == base else f" ({times(speed(best))} {base})"
        wins.setdefault(name, []).append(f"{batch}{over}")
    first, *rest = [f"'{title(found, name)}'{{}} at batch {listed(at)}" for name, at in wins.items()]
    return listed([first.format(" is fastest"), *(other.format("") for other in rest)])


def pays(cases: dict[int, dict[str, dict[str, Any]]], cut: str) -> str:
    """Where the cut pays, and where it does not, with the ratio that says so."""
    if not cut:
        return "nothing was cut"
    groups: dict[str, list[str]] = {}
    for batch, case in cases.items():
        word, ratio = gain(case, cut)
        groups.setdefault(word, []).append(f"{batch}{ratio}")
    told = [f"{PAYS[g]} {listed(groups[g])}" for g in PAYS if g in groups]
    return ", but ".join([told[0].replace("it ", "the cut ", 1) if told[0].startswith("it ") else told[0], *told[1:]])


def gain(case: dict[str, dict[str, Any]], cut: str) -> tuple[str, str]:
    """Whether the cut pays at one batch: the pace of what gains by it beside the fastest that does not, and their ratio
    in words; ``unknown`` where too little was timed."""
    ours = ("zeroed",) if cut == "neuron" else ("sparse",)
    with_cut = [case[n] for n in ours if n in case]
    against = [p for n, p in case.items() if (n == "dense" if cut == "neuron" else n not in ours)]
    if not with_cut or not against:
        return "unknown", ""
    other = quickest(against)
    ratio = speed(quickest(with_cut)) / speed(other)
    return pace(ratio), f" ({times(ratio)} {other['engine']})"
