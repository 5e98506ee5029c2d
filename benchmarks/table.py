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
SHOWN = (0.5, 0.7, 0.8, 0.9, 0.95)


def results(name: str) -> dict[str, Any]:
    return json.loads((HERE / "results" / f"{name}.json").read_text())


def answer() -> str:
    return f"> {results('mnist')['answer']}"


def mnist() -> str:
    """Accuracy, size and speed at a few sparsities, weights beside neurons."""
    found = results("mnist")
    batches = list(found["rows"][0]["speedup"])
    lines = ["| cut | sparsity | accuracy % (seeds) | random control % | size | " +
             " | ".join(f"speed-up, batch {b}" for b in batches) + " |", "|---|---|---|---|---|" + "---|" * len(batches)]
    dense = next(r for r in found["rows"] if r["sparsity"] == 0)
    for granularity in ("weight", "neuron"):
        for sparsity in SHOWN:
            row, control = (next(r for r in found["rows"] if (r["granularity"], r["sparsity"], r["control"]) == (
                granularity, sparsity, c)) for c in (False, True))
            lines.append(f"| {granularity}s | {sparsity:.0%} | {row['accuracy']:.2%} ({row['least']:.2%} – {row['most']:.2%}) "
                         f"| {control['accuracy']:.2%} | {row['bytes_sparse'] / dense['bytes']:.0%} | "
                         + " | ".join(f"{row['speedup'][b]:.2f}" for b in batches) + " |")
    return "\n".join(lines).replace("%", " %").replace(" % (seeds", " % (seeds")


def machine() -> str:
    found = results("mnist")
    box = found["machine"]
    engines = sorted({r["engine"] for r in found["rows"] if r["engine"]})
    mean = sum(found["dense"]) / len(found["dense"])
    return (f"Uncut: {mean:.2%}, mean over {len(found['dense'])} seeds. Measured with `{found['command']}` on {box['cpu']} "
            f"({box['cores']} cores), torch {box['torch']}; speed-ups are medians of interleaved runs against the uncut "
            f"network in torch, zeroed networks run by {', '.join(engines)}, smaller networks by torch. "
            "Size is the smallest of dense, bitmask and CSR for each tensor.")


def overhead() -> str:
    found = results("study")
    lines = ["| the same grid, training and timing apart | seconds | times ours |", "|---|---|---|"]
    lines += [f"| {name} | {found['seconds'][name]:.1f} | {found['ratio'][name]:.2f} |" for name in found["seconds"]]
    return "\n".join(lines)


BLOCKS: dict[str, Callable[[], str]] = {"answer": answer, "mnist": mnist, "machine": machine, "overhead": overhead}


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
