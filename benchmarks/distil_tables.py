"""The tables of what distillation buys, from what ``benchmarks/distil.py`` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, median
from typing import Any

from runtime_tables import table_of

OUT = Path(__file__).parent / "results" / "distil.json"
NAMES = {"best": "`best`", "refit": "`refit`", "none": "plain cut", "published SparseGPT": "SparseGPT",
         "published Wanda": "Wanda"}
TAKEN = OUT.with_name("distil_taken.json")
JUDGED = {"O-Net": "same answer", "Silero VAD": "same answer", "Resemblyzer": "cosine",
          "EfficientNet-Lite0": "same class"}
NOUNS = {"weight": "of the weights", "neuron": "of the neurons"}


def results() -> dict[str, Any]:
    """What was measured."""
    return json.loads(OUT.read_text())  # type: ignore[no-any-return]


def lost() -> str:
    """Points lost by each method, beside what was wanted."""
    found = results()
    cells = {(r["granularity"], r["sparsity"], r["method"]): r for r in found["summary"]}
    methods = [m for m in NAMES if any(key[2] == m for key in cells)]
    lines = []
    for granularity, sparsity in dict.fromkeys(key[:2] for key in cells if key[2] == "best"):
        best = cells[granularity, sparsity, "best"]
        aim = "" if best["aim"] is None else f"{best['aim']:g}"
        lines.append([f"{sparsity:.0%} {NOUNS.get(granularity, f'of blocks {granularity}')}", aim,
                      *(_level(cells.get((granularity, sparsity, m))) for m in methods)])
    dense = {r["seed"]: r["dense"] for r in found["rows"]}
    return (f"Points of accuracy lost, means over {len(dense)} networks of {100 * fmean(dense.values()):.2f} % "
            f"({found['machine']['cpu']}, one thread):\n\n"
            + table_of(["cut", "aim of `best`", *(NAMES[m] for m in methods)], lines))


def _level(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    half = "" if row["half"] is None else f" ± {row['half']:.2f}"
    return f"{row['lost']:.2f}{half}"


def choice_line(granularity: str, sparsities: tuple[float, ...]) -> list[str]:
    """Accuracy of the default with samples in percent, and the processor seconds that it took at most."""
    rows = [r for r in results()["rows"] if (r["granularity"], r["method"]) == (granularity, "best")]
    at = [[r for r in rows if r["sparsity"] == s] for s in sparsities]
    seconds = [median(r["cpu_seconds"] for r in group) for group in at if group]
    return [*(f"{100 * fmean(r['accuracy'] for r in group):.2f}" if group else "" for group in at),
            f"{max(seconds):.1f}" if seconds else ""]


def taken() -> str:
    """How alike the outputs of networks that no one here trained are to the uncut ones' after each step."""
    found = json.loads(TAKEN.read_text())
    cells = {(r["network"], r["granularity"], r["sparsity"], r["method"]): r for r in found["rows"]}
    lines = []
    for name, granularity, sparsity in dict.fromkeys(key[:3] for key in cells if key[3] == "best"):
        key = JUDGED[name].split()[0]
        best = cells[name, granularity, sparsity, "best"]
        steps = [cells[name, granularity, sparsity, "none"], *best["refit"], best]
        lines.append([name, f"{sparsity:.0%} {NOUNS.get(granularity, f'of blocks {granularity}')}", JUDGED[name],
                      *(f"{step[key]:.3f}" for step in steps), f"{best['shown']:,}", f"{best['cpu_seconds']:.0f}"])
    heads = ["network", "cut", "agreement", "plain cut", "`refit`", "`best`", "inputs shown", "processor seconds"]
    packages = ", ".join(found["packages"][name] for name in dict.fromkeys(line[0] for line in lines))
    return (f"Agreement with the uncut network on inputs that no recovery saw ({packages}; {found['machine']['cpu']}, "
            f"{found['threads']} thread):\n\n" + table_of(heads, lines))
