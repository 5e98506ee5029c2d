"""The table of docs/your-network.md: networks that no one here trained."""

from __future__ import annotations

from typing import Any

from runtime_tables import row_of

KEYS = {"all-MiniLM-L6-v2": {"cosine": "cosine", "neighbours": "neighbours", "spearman": "ranking"},
        "Silero VAD": {"same": "same", "off": "mean difference of probabilities"}}
TIMES = {"uncut dense": "torch, uncut", "uncut onnxruntime": "ONNX Runtime, uncut", "uncut openvino": "OpenVINO, uncut",
         "cut dense": "torch, cut", "cut sparse": "secateur, cut", "cut onnxruntime": "ONNX Runtime, cut",
         "cut openvino": "OpenVINO, cut"}


def table(found: dict[str, Any]) -> str:
    """Two tables a network: what each cut kept and its bytes, and milliseconds where they were measured."""
    return "\n\n".join(one(name, found[name]) for name in KEYS if name in found)


def one(name: str, found: dict[str, Any]) -> str:
    """The tables of one network."""
    rows, about = found["rows"], found["about"]
    cuts = [row for key, row in rows.items() if key != "original"]
    heads = ["cut", "recovery", *KEYS[name].values(), "bytes"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    lines += [row_of(line(row, rows["original"], KEYS[name])) for row in cuts]
    told = (f"**{name}** ({about['package']}; {about['shown']:,} shown, {about['held']:,} held out; "
            f"{about['corpus']}).\n\n" + "\n".join(lines))
    return told + (f"\n\n{times(found)}" if "timed_on" in found else "")


def line(row: dict[str, Any], whole: dict[str, Any], keys: dict[str, str]) -> list[str]:
    """One cut."""
    part = row["bytes_sparse" if row["granularity"] == "weight" else "bytes"] / whole["bytes"]
    return [share(row), row["recovery"], *(f"{row[key]:.3f}" for key in keys), f"{part:.0%}"]


def share(row: dict[str, Any]) -> str:
    """What was cut, in words."""
    return f"{row['sparsity']:.0%} of the {row['granularity']}s"


def times(found: dict[str, Any]) -> str:
    """The table of milliseconds: every recovered cut at every batch size, and how many times faster its fastest way is
    than the fastest way of the uncut network."""
    where = found["timed_on"]
    heads = ["cut, recovered", "batch", *TIMES.values(), "× the fastest uncut"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    for row in found["rows"].values():
        for batch, ms in row.get("ms", {}).items():
            lines.append(row_of([share(row), batch, *(f"{ms[way]:.2f}" if way in ms else "" for way in TIMES),
                                 f"{fastest(ms, 'uncut') / fastest(ms, 'cut'):.2f}"]))
    return (f"Milliseconds a call on one thread of {where['cpu']}, torch {where['torch']}, {found['about']['timed']}: "
            f"medians of runs in turns, load average {found['load']:.1f}.\n\n" + "\n".join(lines))


def fastest(ms: dict[str, float], kind: str) -> float:
    """The least of one network's milliseconds."""
    return min(value for way, value in ms.items() if way.startswith(f"{kind} "))
