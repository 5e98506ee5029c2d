"""The tables of docs/runtime.md, from the seconds that ``benchmarks/runtime.py`` wrote."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ratios import BF16, DENSE, INT8, Row, best, faster, median, others

NETS = ("mlp", "768-3072", "4096-4096", "cnn", "resnet-like", "mobilenet-like")
LINEAR = NETS[:3]
MINE = ("torch", "torch.compile", "secateur")
SHOWN = (0.5, 0.8, 0.9, 0.95, 0.98)


def over_dense(row: Row, engine: str = "secateur") -> float | None:
    """Over the best open dense engine of the case."""
    return faster(row, engine, best(row, DENSE))


def over_others(row: Row, engine: str = "secateur") -> float | None:
    """Over the best of all other engines of the case, sparse or dense, DeepSparse among them."""
    return faster(row, engine, best(row, others(row)))


def over_deepsparse(row: Row, engine: str = "secateur") -> float | None:
    """Over DeepSparse, where its outputs are right."""
    return faster(row, engine, "deepsparse")


Measure = Callable[[Row, str], "float | None"]


@dataclass(frozen=True)
class Aim:
    """A ratio that is wanted in some cases."""

    words: str
    least: float
    measure: Measure
    nets: Sequence[str]
    sparsities: Sequence[float]
    batches: Sequence[int]

    def cases(self, rows: Iterable[Row], engine: str) -> list[tuple[float, Row]]:
        """The measured ratios of its cases on one thread."""
        found = [(self.measure(r, engine), r) for r in rows if r["threads"] == 1 and r["net"] in self.nets
                 and r["sparsity"] in self.sparsities and r["batch"] in self.batches]
        return [(ratio, row) for ratio, row in found if ratio is not None]


LARGE, SMALL, ALL, MANY = (16, 64, 256, 1024), (1, 2, 8, 16), (1, 2, 8, 16, 64, 256, 1024), (0.8, 0.9, 0.95, 0.98)
AIMS = (
    Aim("over the best dense engine, MLP and linears, batch ≥ 16, 50 %", 1.6, over_dense, LINEAR, (0.5,), LARGE),
    Aim("the same, 80 %", 4, over_dense, LINEAR, (0.8,), LARGE),
    Aim("the same, 90 %", 8, over_dense, LINEAR, (0.9,), LARGE),
    Aim("the same, 95 %", 14, over_dense, LINEAR, (0.95,), LARGE),
    Aim("over the best dense engine, MLP and linears, batch 1, 90 %", 5, over_dense, LINEAR, (0.9,), (1,)),
    Aim("over DeepSparse, MLP and linears, 80–98 %", 1.8, over_deepsparse, LINEAR, MANY, ALL),
    Aim("over the best of all others, MLP and linears, batch ≤ 32, ≥ 80 %", 2.5, over_others, LINEAR, MANY, SMALL),
    Aim("over the best open dense engine, CNN, 90 %", 3, over_dense, ("cnn",), (0.9,), ALL),
    Aim("over DeepSparse, CNN, 80–98 %", 1, over_deepsparse, ("cnn",), MANY, ALL),
)


def row_of(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table_of(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join([row_of(heads), row_of(["---"] * len(heads)), *map(row_of, rows)])


def ordered(found: dict[str, Any]) -> list[Row]:
    return sorted(found["rows"], key=lambda r: (NETS.index(r["net"]), r["threads"], r["batch"], r["sparsity"]))


def times(ratio: float | None) -> str:
    """A ratio for a table: two digits below 10."""
    return "" if ratio is None else f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:.0f}"


def aims(found: dict[str, Any]) -> str:
    """What was aimed at and what was measured, AVX-512 and AVX2 alone (where 60 % of each is the aim)."""
    heads = ["times faster", "aim", "cases", "reached", "lowest (where)", "median", "highest", "AVX2 alone: reached",
             "median of it over 60 % of the aim"]
    return table_of(heads, [_aim(aim, found["rows"]) for aim in AIMS]) + "\n\n" + facts(found)


def _aim(aim: Aim, rows: list[Row]) -> list[str]:
    cases, lesser = aim.cases(rows, "secateur"), aim.cases(rows, "secateur avx2")
    if not cases:
        return [aim.words, f"{aim.least:g}", "0", "not measured", "", "", "", "", ""]
    ratios = [ratio for ratio, _ in cases]
    ratio, row = min(cases, key=lambda c: c[0])
    shares = [r / aim.least for r, _ in lesser]
    return [aim.words, f"{aim.least:g}", str(len(cases)), f"**{sum(r >= aim.least for r in ratios)}**",
            f"{times(ratio)} ({row['net']}, batch {row['batch']}, {row['sparsity']:.0%})",
            times(statistics.median(ratios)), times(max(ratios)), f"{sum(s >= 0.6 for s in shares)} of {len(shares)}",
            f"{statistics.median(shares) / 0.6:.0%}" if shares else ""]


def facts(found: dict[str, Any]) -> str:
    """Bytes, packing and start, in words."""
    if "facts" not in found:
        return "Bytes, packing and the cached start: not measured."
    known = found["facts"]
    share, packing = max(known["bytes"].values()), max(known["packing_seconds"].values())
    starts = ", ".join(f"batch {b}: {s['first call'] * 1e3:.1f} ms" for b, s in known["cached_start"].items())
    compiling = max(s["compile"] - s["capture"] for s in known["cached_start"].values())
    export = max(s["capture"] for s in known["cached_start"].values())
    return (f"Packed weights at {known['sparsity']:.0%}: {share:.3f} of the dense bytes (aim: at most 0.17). Packing "
            f"the MLP: {packing * 1e3:.0f} ms (aim: under 50). First call after a cached start (aim: under 50 ms): "
            f"{starts}; `compile` before it takes {compiling * 1e3:.0f} ms and torch's capture {export:.1f} s.")


def mlp(found: dict[str, Any]) -> str:
    """The MLP on one thread, a row for each batch and sparsity."""
    heads = ["batch", "sparsity", "torch eager", "secateur over it", "best dense engine", "**secateur over it**",
             "best of all others", "**secateur over it**", "over DeepSparse", "AVX2 alone over the best dense"]
    rows = [r for r in ordered(found) if (r["net"], r["threads"]) == ("mlp", 1) and r["sparsity"] in SHOWN]
    less = [(name, kinds) for name, kinds in (("int8", INT8), ("bf16", BF16)) if any(best(r, kinds) for r in rows)]
    heads += [head for name, _ in less for head in (f"best engine in {name}", "**secateur over it**")]
    return table_of(heads, [[*_mlp(row), *(cell for _, kinds in less for cell in _less(row, kinds))] for row in rows])


def _less(row: Row, kinds: Sequence[str]) -> list[str]:
    """The fastest engine in less precision, and how many times faster secateur is in float32."""
    other = best(row, kinds)
    return [other or "", f"**{times(faster(row, 'secateur', other))}**" if other else ""]


def _mlp(row: Row) -> list[str]:
    dense, other = best(row, DENSE), best(row, others(row))
    deep = times(over_deepsparse(row)) or ("wrong" if "wrong" in row["problems"].get("deepsparse", "") else "")
    return [str(row["batch"]), f"{row['sparsity']:.0%}", f"{median(row, 'torch eager') * 1e6:.0f} µs",
            times(faster(row, "secateur", "torch eager")), str(dense), f"**{times(over_dense(row))}**", str(other),
            f"**{times(over_others(row))}**", deep + ("*" if "note" in row["engines"].get("deepsparse", {}) else ""),
            times(over_dense(row, "secateur avx2"))]


def engines(found: dict[str, Any], sparsity: float = 0.9) -> str:
    """Every engine at one sparsity on one thread: times faster than torch eager."""
    rows = [r for r in ordered(found) if r["threads"] == 1 and r["sparsity"] == sparsity]
    labels = list(dict.fromkeys(e for row in rows for e in row["engines"] if e != "torch eager"))
    return table_of(["net", "batch", *labels], [
        [row["net"], str(row["batch"]), *(_cell(row, e) for e in labels)] for row in rows])


def _cell(row: Row, engine: str) -> str:
    if engine in row["engines"]:
        return times(faster(row, engine, "torch eager"))
    return "wrong" if "wrong" in row["problems"].get(engine, "") else ""


def condensed(found: dict[str, Any]) -> str:
    """Every net, one thread and all: over the best dense engine, and over the best of all others."""
    rows = [r for r in ordered(found) if "secateur" in r["engines"]]
    shown = sorted({r["sparsity"] for r in rows})
    lines = []
    for (net, threads, batch), cases in itertools.groupby(rows, lambda r: (r["net"], r["threads"], r["batch"])):
        by = {r["sparsity"]: f"{times(over_dense(r))} / {times(over_others(r))}" for r in cases}
        lines.append([net, str(threads), str(batch), *(by.get(s, "") for s in shown)])
    return table_of(["net", "threads", "batch", *(f"{s:.0%}" for s in shown)], lines)


def problems(found: dict[str, Any]) -> str:
    """Engines that were not timed, and why; versions of the others."""
    rows, words = found["rows"], [f"- {name}: {why}" for name, why in found.get("absent", {}).items()]
    reasons: dict[tuple[str, str], int] = {}
    for row in rows:
        for engine, why in row["problems"].items():
            key = engine, "wrong outputs" if "wrong" in why else why.removeprefix("ValueError: ")
            reasons[key] = reasons.get(key, 0) + 1
    words += [f"- {engine}: {why} ({count} cases)" for (engine, why), count in reasons.items()]
    versions = {e: v["version"] for row in rows for e, v in row["engines"].items() if e.split()[0] not in MINE}
    return "\n".join([*words, "", "Versions: " + ", ".join(f"{e} {v}" for e, v in versions.items()) + "."])
