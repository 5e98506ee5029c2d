"""The tables of what eight bits cost, from what ``benchmarks/int8.py`` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

from runtime_tables import table_of

OUT = Path(__file__).parent / "results" / "int8.json"
SPEED = OUT.with_name("int8_speed.json")
RIVAL = "uncut, onnxruntime-int8"
WAYS = ("f32", "bf16", "int8", "int8, nearest", "int8, dynamic")
NOUNS = {"": "uncut", "weight": "of the weights", "neuron": "of the neurons"}
JUDGED = ("accuracy", "same", "cosine")
Row = dict[str, Any]


def results() -> dict[str, Any]:
    """What was measured."""
    return json.loads(OUT.read_text())  # type: ignore[no-any-return]


def cut_name(granularity: str, sparsity: float) -> str:
    """A cut in words.

    >>> cut_name("", 0.0), cut_name("weight", 0.9), cut_name("1x4", 0.8)
    ('uncut', '90% of the weights', '80% of blocks 1x4')
    """
    if not granularity:
        return "uncut"
    return f"{sparsity:.0%} {NOUNS.get(granularity, f'of blocks {granularity}')}"


def study_table() -> str:
    """Accuracy and bytes of the networks that were trained here."""
    rows = [row for row in results()["rows"] if "accuracy" in row]
    lines = []
    for name, granularity, sparsity in dict.fromkeys((r["network"], r["granularity"], r["sparsity"]) for r in rows):
        some = [r for r in rows if (r["network"], r["granularity"], r["sparsity"]) == (name, granularity, sparsity)]
        cells = [_accuracy([r for r in some if r["way"] == way]) for way in WAYS]
        lines.append([f"`{name}`", cut_name(granularity, sparsity), *cells, _bytes(some, rows, "f32"),
                      _bytes(some, rows, "int8")])
    seeds = len({row["seed"] for row in rows})
    heads = ["network", "cut", *(f"{way}" for way in WAYS), "bytes, f32", "bytes, int8"]
    return (f"Accuracy in percent, means over {seeds} networks, and the bytes of the file as a part of the uncut "
            f"float32 file ({results()['machine']['cpu']}):\n\n" + table_of(heads, lines))


def taken_table() -> str:
    """Agreement and bytes of the networks that no one here trained."""
    rows = [row for row in results()["rows"] if "accuracy" not in row]
    lines = []
    for name, granularity, sparsity in dict.fromkeys((r["network"], r["granularity"], r["sparsity"]) for r in rows):
        some = [r for r in rows if (r["network"], r["granularity"], r["sparsity"]) == (name, granularity, sparsity)]
        by = {r["way"]: r for r in some}
        key = next(k for k in JUDGED if k in some[0])
        lines.append([name, cut_name(granularity, sparsity), {"same": "same answer"}.get(key, key),
                      *(f"{by[way][key]:.3f}" if way in by else "" for way in WAYS),
                      _bytes(some, rows, "f32"), _bytes(some, rows, "int8")])
    heads = ["network", "cut", "measured", *WAYS, "bytes, f32", "bytes, int8"]
    return ("Agreement with the uncut float32 network on inputs that nothing saw, and the bytes of the file as a part "
            "of the uncut float32 file:\n\n" + table_of(heads, lines))


def _accuracy(rows: list[Row]) -> str:
    return f"{100 * fmean(row['accuracy'] for row in rows):.2f}" if rows else ""


def _bytes(some: list[Row], rows: list[Row], way: str) -> str:
    """The bytes of a cut, in parts of the same network's uncut file in float32."""
    whole = {(r["network"], r["seed"]): r["bytes"] for r in rows if not r["granularity"] and r["way"] == "f32"}
    parts = [r["bytes"] / whole[r["network"], r["seed"]] for r in some if r["way"] == way]
    return f"{fmean(parts):.1%}" if parts else ""


def speed_table() -> str:
    """Times as fast as ONNX Runtime's int8 of the uncut network, at each batch size, and how right the answers are."""
    found = json.loads(SPEED.read_text())
    batches = [str(batch) for batch in (1, 16, 64)]
    lines = []
    for name, one in found["networks"].items():
        rival = one["ways"][RIVAL]["ms"]
        for what, row in one["ways"].items():
            ratios = [f"{rival[b]['median'] / row['ms'][b]['median']:.2f}" for b in batches]
            key = next(k for k in JUDGED if k in row)
            lines.append([f"`{name}`", what, f"{100 * row[key]:.2f}", *ratios])
    heads = ["network", "what runs", "accuracy in percent", *(f"batch {b}" for b in batches)]
    return (f"Times as fast as the uncut network in ONNX Runtime's int8, one thread of an {found['machine']['cpu']}, "
            "medians of interleaved calls:\n\n" + table_of(heads, lines))
