"""The tables of docs/export.md, from what ``benchmarks/export.py`` wrote."""

from __future__ import annotations

from typing import Any

from runtime_tables import row_of

from secateur.core.machine import CROWD

NAMES = {"uncut": "uncut", "weights": "of its weights", "neurons": "of its neurons"}


def files(found: dict[str, Any]) -> str:
    """Accuracy, bytes and milliseconds of every file."""
    batches = sorted(found["rows"][0]["ms"], key=int)
    heads = ["network", "cut", "type", "test accuracy", "kB", "kB packed", "error", "same digit",
             *(f"ms, batch {b}" for b in batches), "export, CPU s"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    for row in (r for r in found["rows"] if "accuracy" in r):
        cut = NAMES[row["cut"]] if row["cut"] == "uncut" else f"{row['sparsity']:.0%} {NAMES[row['cut']]}"
        off = row["distance"] if row["type"] == "int8" else row["error"]
        lines.append(row_of([row["model"], cut, row["type"], f"{row['accuracy']:.2%}", f"{row['bytes'] / 1e3:,.0f}",
                             f"{row['packed'] / 1e3:,.0f}", f"{off:.1%}" if row["type"] == "int8" else f"{off:.0e}",
                             f"{row['same']:.1%}", *(f"{row['ms'][b]:.3f}" for b in batches),
                             f"{row['export_cpu_s']:.1f}"]))
    return "\n".join(lines)


def engines(found: dict[str, Any]) -> str:
    """The same networks in torch, and the zeroed one compiled."""
    batches = sorted(found["rows"][0]["ms"], key=int)
    heads = ["network", "cut", "run by", *(f"ms, batch {b}" for b in batches)]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    by = {"float32": "ONNX Runtime, float32", "int8": "ONNX Runtime, int8", "torch": "torch",
          "secateur": "`sc.compile`"}
    order = sorted(found["rows"], key=lambda r: [list(NAMES).index(r["cut"]), list(by).index(r["type"])])
    for model in dict.fromkeys(r["model"] for r in found["rows"]):
        for row in (r for r in order if r["model"] == model):
            lines.append(row_of([model, row["cut"], by[row["type"]], *(f"{row['ms'][b]:.3f}" for b in batches)]))
    return "\n".join(lines)


def machine(found: dict[str, Any]) -> str:
    """Where and how it was measured."""
    box = found["machine"]
    busy = found["load"] > box["cores"] + CROWD
    threads = f"{found['threads']} thread{'s' * (found['threads'] > 1)}"
    return (f"{box['cpu']} ({box['cores']} cores), {threads}; torch {box['torch']}, ONNX Runtime "
            f"{found['onnxruntime']}. MNIST, one trained network each; both cuts recovered with `best` from "
            f"{found['samples']:,} unlabelled samples. Milliseconds are medians of interleaved rounds; "
            f"the load average was {found['load']:.1f} when they began"
            + (", so they are too high: accuracy, bytes and CPU seconds hold." if busy else "."))
