"""Write the tables of README and docs from the benchmarks' JSON, between their markers.

    python benchmarks/table.py [--check]

With ``--check`` nothing is written; exit code 1 where a page is not what its figures say.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGES = [HERE.parent / "README.md", *sorted((HERE.parent / "docs").glob("*.md"))]
NETS = ("mlp", "768-3072", "4096-4096", "cnn", "resnet-like", "mobilenet-like")
PUBLISHED = {"lenet-300-100": "1.92 – 1.99 % at 98.2 – 98.5 %", "lenet5": "0.75 – 0.97 % at 99.5 – 99.6 %"}
SHOWN = (0.5, 0.7, 0.8, 0.9, 0.95)


def results(name: str) -> dict[str, Any]:
    return json.loads((HERE / "results" / f"{name}.json").read_text())


def answer() -> str:
    return f"> {results('mnist')['answer']}"


def mnist() -> str:
    """Accuracy, size and speed at a few sparsities, weights beside neurons."""
    found = results("mnist")
    batches = sorted(found["rows"][0]["speedup"], key=int)
    heads = ["cut", "sparsity", "accuracy (least – most of the seeds)", "random control", "size",
             *(f"speed-up, batch {b}" for b in batches)]
    dense = next(r for r in found["rows"] if r["sparsity"] == 0)
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    for granularity in ("weight", "neuron"):
        for sparsity in SHOWN:
            row, control = (next(r for r in found["rows"] if (r["granularity"], r["sparsity"], r["control"]) == (
                granularity, sparsity, c)) for c in (False, True))
            lines.append(row_of([f"{granularity}s", f"{sparsity:.0%}",
                                 f"{row['accuracy']:.2%} ({row['least']:.2%} – {row['most']:.2%})",
                                 f"{control['accuracy']:.2%}", f"{row['bytes_sparse'] / dense['bytes']:.0%}",
                                 *(f"{row['speedup'][b]:.2f}" for b in batches)]))
    return "\n".join(lines)


def row_of(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def machine() -> str:
    """What was run where, in words."""
    found = results("mnist")
    box = found["machine"]
    engines = ", ".join(sorted({r["engine"] for r in found["rows"] if r["engine"]}))
    mean = sum(found["dense"]) / len(found["dense"])
    return (f"Uncut: {mean:.2%}, mean over {len(found['dense'])} seeds. Measured with `{found['command']}` on "
            f"{box['cpu']} ({box['cores']} cores), torch {box['torch']}; speed-ups are medians of interleaved runs "
            f"against the uncut network in torch; zeroed networks run by the engine `{engines}`, smaller networks by "
            "torch. Size is the smallest of dense, bitmask and CSR for each tensor.")


def overhead() -> str:
    found = results("study")
    lines = ["| the same grid, training and timing apart | seconds | times ours |", "|---|---|---|"]
    lines += [f"| {name} | {found['seconds'][name]:.1f} | {found['ratio'][name]:.2f} |" for name in found["seconds"]]
    return "\n".join(lines)


def runtime() -> str:
    """The runtime beside its peers: times faster than torch eager, and over the best dense engine of each case."""
    rows = sorted(results("runtime")["rows"], key=lambda r: (r["threads"], list(NETS).index(r["net"]), r["sparsity"],
                                                           r["batch"]))
    labels = list(dict.fromkeys(e for row in rows for e in row["engines"] if e not in ("torch eager", "secateur")))
    heads = ["net", "threads", "batch", "sparsity", "torch eager", "**secateur**", *labels,
             "secateur over the best dense"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    for row in rows:
        cells = [f"{row['engines'][e]['over_eager']:.1f}" if e in row["engines"] else
                 ("wrong" if "wrong" in row["problems"].get(e, "") else "") for e in labels]
        ours = row["engines"]["secateur"]
        lines.append(row_of([row["net"], str(row["threads"]), str(row["batch"]), f"{row['sparsity']:.0%}",
                             f"{row['engines']['torch eager']['median'] * 1e6:.0f} µs", f"**{ours['over_eager']:.1f}**",
                             *cells,
                             f"{ours['over_best_dense']:.1f} ({row['best_dense']})"]))
    return "\n".join(lines)


def runtime_machine() -> str:
    """Where the runtime was measured."""
    box = results("runtime")["machine"]
    return (f"{box['cpu']} ({box['cores']} cores), {', '.join(box['isa'])}; torch {box['torch']}, llvmlite "
            f"{box['llvmlite']}, Python {box['python']}.")


def structures() -> str:
    """How many networks of each zoo are cut, how far, and how."""
    heads = ["zoo", "networks", "proved", "at least 10 % of parameters removed", "at least 40 %", "same class",
             "as a graph", "refused or not traced", "median s", "most s"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    for row in results("structures")["zoos"]:
        counts = (str(row[k]) for k in ("networks", "proved", "tenth", "forty", "module", "graph", "refused"))
        lines.append(row_of([row["zoo"], *counts, f"{row['median_s']:.2f}", f"{row['most_s']:.1f}"]))
    return "\n".join(lines)


def refusals() -> str:
    """Every network that was not cut, with the reason."""
    found = results("structures")["refused"]
    return "\n".join(f"- `{name}`: {reason}" for name, reason in found.items()) or "None."


def training() -> str:
    """Networks trained sparse: test errors, beside the published ones, and what the machine gave."""
    heads = ["network", "weights removed", "test error, mean (least – most)", "seeds", "the dense network", "published",
             "epochs", "from", "images added"]
    lines = [row_of(heads), row_of(["---"] * len(heads))]
    kinds: dict[str, list[dict[str, Any]]] = {}
    for row in results("training")["rows"]:
        kinds.setdefault(json.dumps(row["recipe"]), []).append(row)
    for rows in kinds.values():
        recipe, errors = rows[0]["recipe"], [r["error"] for r in rows]
        dense = [r["dense_error"] for r in rows if r["dense_error"] is not None]
        lines.append(row_of([f"`{recipe['model']}`", f"{recipe['sparsity']:.1%}",
                             f"{sum(errors) / len(errors):.2f} % ({min(errors):.2f} – {max(errors):.2f})",
                             str(len(rows)), f"{sum(dense) / len(dense):.2f} %" if dense else "",
                             PUBLISHED.get(recipe["model"], ""), str(recipe["epochs"]),
                             "scratch" if recipe["scratch"] else "the study's trained network",
                             f"{recipe['shifted']} shifted copies" if recipe["shifted"] else ""]))
    return "\n".join(lines)


BLOCKS: dict[str, Callable[[], str]] = {"answer": answer, "mnist": mnist, "machine": machine, "overhead": overhead,
                                         "runtime": runtime, "runtime_machine": runtime_machine,
                                         "structures": structures, "refusals": refusals, "training": training}


def filled(text: str) -> str:
    """A page with every block between its markers made anew."""
    def block(match: re.Match[str]) -> str:
        return f"<!-- begin {match[1]} -->\n{BLOCKS[match[1]]()}\n<!-- end -->"
    return re.sub(r"<!-- begin (\w+) -->\n.*?<!-- end -->", block, text, flags=re.S)


def main() -> int:
    stale = [page for page in PAGES if filled(page.read_text()) != page.read_text()]
    for page in stale:
        if "--check" in sys.argv:
            print(f"{page.name} is not what benchmarks/results say; run benchmarks/table.py", file=sys.stderr)
        else:
            page.write_text(filled(page.read_text()))
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
