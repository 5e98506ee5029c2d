"""The table of docs/your-network.md: networks that no one here trained."""

from __future__ import annotations

from typing import Any

from runtime_tables import row_of

KEYS = {"all-MiniLM-L6-v2": {"cosine": "cosine", "neighbours": "neighbours", "spearman": "ranking"},
        "Silero VAD": {"same": "same", "off": "mean difference of probabilities"}}
TIMES = {"original": "ms, torch", "cut": "ms, cut", "original, ONNX Runtime": "ms, ONNX Runtime uncut"}


def table(found: dict[str, Any]) -> str:
    """One table a network: what each cut kept, its bytes, and milliseconds where they were measured."""
    return "\n\n".join(one(name, found[name]) for name in KEYS if name in found)


def one(name: str, found: dict[str, Any]) -> str:
    """The table of one network."""
    rows, about = found["rows"], found["about"]
    cuts = [row for key, row in rows.items() if key != "original"]
    batches = sorted({b for row in cuts for b in row.get("ms", {})}, key=int)
    heads = ["cut", "recovery", *KEYS[name].values(), "bytes",
             *(f"{text}, batch {b}" for b in batches for text in TIMES.values())]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    lines += [row_of(line(row, rows["original"], KEYS[name], batches)) for row in cuts]
    where = found.get("timed_on")
    timed = (f" Timed on one thread of {where['cpu']}, torch {where['torch']}: medians of runs in turns."
             if where else "")
    return (f"**{name}** ({about['package']}; {about['shown']:,} shown, {about['held']:,} held out; "
            f"{about['corpus']}).{timed}\n\n" + "\n".join(lines))


def line(row: dict[str, Any], whole: dict[str, Any], keys: dict[str, str], batches: list[str]) -> list[str]:
    """One cut."""
    part = row["bytes_sparse" if row["granularity"] == "weight" else "bytes"] / whole["bytes"]
    return [f"{row['sparsity']:.0%} of the {row['granularity']}s", row["recovery"],
            *(f"{row[key]:.3f}" for key in keys), f"{part:.0%}",
            *(time(row.get("ms", {}).get(b, {}), kind) for b in batches for kind in TIMES)]


def time(ways: dict[str, Any], kind: str) -> str:
    """The milliseconds of one way."""
    name = next((n for n in ways if n == kind or (kind == "cut" and n.startswith("cut"))), "")
    return f"{ways[name]['ms']:.2f}" if name else ""
