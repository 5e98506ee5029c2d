"""Cuts half of every group of several hundred networks: ours, Torch-Pruning, torch-kirigami.

    python benchmarks/structures.py --zoo transformers,timm,torchvision,traps --library ours --out results.jsonl

needs transformers, timm, torchvision, torch-pruning and torch-kirigami beside secateur, in an environment of
its own. Every network runs in a process of its own with a time limit; a line of JSON for each is
appended to ``--out``; networks that are in it already are not run again, unless they ran out of a shorter time.
``--summary`` prints the counts.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import textwrap
import time
import warnings
from pathlib import Path
from typing import Any

HERE = str(Path(__file__).parent)
sys.path = [p for p in sys.path if p != HERE]

import torch  # noqa: E402
from torch import nn  # noqa: E402

warnings.filterwarnings("ignore")
sys.path.append(HERE)
import pruners  # noqa: E402
import zoo  # noqa: E402
from child import OutOfTime, isolated, limited, stage  # noqa: E402

LIMIT_S, SMALL = 120, 4e7


def parameters(model: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(p.numel() for p in model.parameters())


def ours(model: nn.Module, example: Any, limit: float) -> dict[str, Any]:
    """Trace, plan at half, cut and prove."""
    import secateur as sc
    from secateur import graph
    from secateur.graph import capture
    from secateur.graph.cut import graph_module
    from secateur.pruning.apply import carry_out
    from secateur.pruning.selection import Selection
    from secateur.pruning.spec import PruningSpec

    size = sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()])
    start = time.process_time()
    stage("export")
    try:
        found = capture.capture(model, example)
    except sc.SecateurError:
        found = None
    row: dict[str, Any] = {"export_s": time.process_time() - start, "bytes": size}
    removal, spent = None, {}
    try:
        with limited("prune", limit) as spent:
            structure = graph.analyse(model, [found]) if found else graph.trace(model, example)
            row |= {"traced": True, "groups": sum(g.cuttable for g in structure.groups), "unknown": structure.unknown}
            selection = Selection(model, PruningSpec(granularity="neuron"), structure=structure)
            removal = carry_out(model, selection.plan(0.5))
    except sc.SecateurError as error:
        row["refused"] = str(error)
    except OutOfTime:
        row["limit_s"] = limit
    row |= {"s": spent["s"], "peak": spent["peak_bytes"] / size}
    if removal is None:
        return row
    small = removal.network
    return row | {"proved": True, "removed": 1 - parameters(small) / parameters(model), "notes": removal.notes[:8],
                  "kind": "parts" if not found else "graph" if isinstance(small, graph_module.ExportedNetwork)
                  else "module"}


LIBRARIES = {"ours": ours, "torch-pruning": pruners.torch_pruning, "torch-pruning-heads": pruners.torch_pruning_heads,
             "torch-pruning-whole-heads": pruners.torch_pruning_whole_heads, "torch-kirigami": pruners.torch_kirigami}


def measure(make: Any, library: str, limit: float) -> dict[str, Any]:
    """Make one network and cut it; an error around a peer's own work is not the peer's."""
    stage("make")
    try:
        model, example = make()
    except Exception as error:
        return {"no_model": f"{type(error).__name__}: {error}"[:300]}
    row: dict[str, Any] = {"parameters": parameters(model)}
    try:
        row |= LIBRARIES[library](model, example, limit)
    except Exception as error:
        row["error" if library == "ours" else "why"] = f"{type(error).__name__}: {error}"[:300]
    return row


def summary(path: Path) -> None:
    """Print the counts of a file of results, by zoo."""
    rows = read(path)
    for family in [*dict.fromkeys(r["zoo"] for r in rows), "all"]:
        some = [r for r in rows if family in (r["zoo"], "all")]
        done = [r for r in some if outcome(r) in ("right", "little")]
        times = sorted(r["s"] for r in done) or [0.0]
        print(f"{family}: {len(some)} networks, proved {len(done)}, >=10% {sum(r['removed'] >= .1 for r in done)}, "
              f">=40% {sum(r['removed'] >= .4 for r in done)}, "
              f"as module {sum(r.get('kind') == 'module' for r in done)}, "
              f"median {times[len(times) // 2]:.2f} s, most {times[-1]:.1f} s, "
              f"refused {sum('refused' in r for r in some)}, error {sum('error' in r for r in some)}, "
              f"peak (of >40 MB) {max((r['peak'] for r in done if r.get('bytes', 0) > SMALL), default=0):.2f}")


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of results whose networks could be made; of several for one network the last."""
    rows = {(r["zoo"], r["name"]): r for r in map(json.loads, path.read_text().splitlines())}
    return [r for r in rows.values() if "no_model" not in r and r.get("stage") != "make"]


def condensed(path: Path, peers: list[Path]) -> dict[str, Any]:
    """The counts of a file of results, and the reasons of what was not cut, for the tables of the docs."""
    rows = read(path)
    zoos = []
    for family in [*dict.fromkeys(r["zoo"] for r in rows), "all"]:
        some = [r for r in rows if family in (r["zoo"], "all")]
        done = [r for r in some if r.get("proved")]
        times = sorted(r["s"] for r in done) or [0.0]
        zoos.append({"zoo": family, "networks": len(some), "proved": len(done),
                     "tenth": sum(r["removed"] >= 0.1 for r in done), "forty": sum(r["removed"] >= 0.4 for r in done),
                     "module": sum(r["kind"] == "module" for r in done),
                     "graph": sum(r["kind"] == "graph" for r in done), "parts": sum(r["kind"] == "parts" for r in done),
                     "refused": sum("refused" in r for r in some),
                     "failed": sum(not r.get("proved") and "refused" not in r for r in some),
                     "median_s": times[len(times) // 2], "most_s": times[-1],
                     "peak": max((r["peak"] for r in done if r["bytes"] > SMALL), default=0.0)})
    compared = [row for peer in peers for row in beside(peer, rows)]
    reasons = {r["name"]: reason(r) for r in rows if not r.get("proved")}
    return {"zoos": zoos, "peers": compared, "refused": reasons}


def reason(row: dict[str, Any]) -> str:
    """Why a network was not cut, in whole words of a line."""
    if "limit_s" in row:
        return f"not done in {row['limit_s']} s"
    said = row.get("refused") or row.get("error") or f"killed while at '{row['stage']}'"
    return textwrap.shorten(said, 240, placeholder=" …")


def outcome(row: dict[str, Any]) -> str:
    """How one cut ended: right, little (right, but under a tenth went), wrong, shape (outputs of another shape), none
    (crashed or refused), limit (out of time), unchecked."""
    if "limit_s" in row or ("killed" in row and row["stage"] == "prune"):
        return "limit"
    if "refused" in row or "error" in row:
        return "none"
    if row.get("proved") or row.get("verdict") == "right":
        return "right" if row["removed"] >= 0.1 else "little"
    return str(row.get("verdict", "unchecked"))


OUTCOMES = ("right", "wrong", "shape", "unchecked", "little", "none", "limit")


def beside(path: Path, ours: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A peer's outcomes, by zoo, beside ours on the same networks."""
    theirs, own = read(path), {(r["zoo"], r["name"]): r for r in ours}
    theirs = [r for r in theirs if (r["zoo"], r["name"]) in own]
    made = []
    for family in [*dict.fromkeys(r["zoo"] for r in theirs), "all"]:
        some = [r for r in theirs if family in (r["zoo"], "all")]
        for who, rows in ((path.stem, some), ("secateur", [own[r["zoo"], r["name"]] for r in some])):
            found = [outcome(r) for r in rows]
            made.append({"library": who, "beside": path.stem, "zoo": family, "networks": len(rows),
                         **{o: found.count(o) for o in OUTCOMES},
                         "limits": sorted({r["limit_s"] for r in rows if "limit_s" in r})})
    return made


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zoo", default="transformers,timm,torchvision,traps")
    parser.add_argument("--library", default="ours", choices=LIBRARIES)
    parser.add_argument("--out", type=Path, default=Path("structures.jsonl"))
    parser.add_argument("--names", default="")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after this long; run again to go on")
    parser.add_argument("--limit", type=int, default=LIMIT_S, help="seconds of CPU time for a library's own work each")
    parser.add_argument("--every", default="", help="which networks of a zoo: timm=3,transformers=3 takes each third")
    parser.add_argument("--summary", action="store_true")
    parser.add_argument("--json", type=Path, help="write the counts for benchmarks/table.py here")
    parser.add_argument("--peers", type=Path, nargs="*", default=[], help="result files of other libraries, for --json")
    parser.add_argument("--memory", type=Path, help="write the memory that each network over 40 MB took here")
    asked = parser.parse_args()
    if not asked.summary:
        run(asked)
    summary(asked.out)
    if asked.json:
        asked.json.write_text(json.dumps(condensed(asked.out, asked.peers), indent=1) + "\n")
    if asked.memory:
        held = [{k: r[k] for k in ("zoo", "name", "bytes", "peak", "s")} for r in read(asked.out)
                if r.get("proved") and r["bytes"] > SMALL]
        asked.memory.write_text(json.dumps(sorted(held, key=lambda r: -r["peak"]), indent=1) + "\n")


def run(asked: argparse.Namespace) -> None:
    """Go through the zoos."""
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in asked.out.read_text().splitlines()] if asked.out.exists() else []
    done = {r["name"] for r in rows if r.get("limit_s", asked.limit) >= asked.limit}
    end = time.monotonic() + asked.seconds
    for package in ("secateur", *(["torch_" + asked.library.split("-")[1]] if asked.library != "ours" else [])):
        importlib.import_module(package)
    torch.export.export(nn.Linear(1, 1), (torch.ones(1, 1),))
    every = dict(part.split("=") for part in asked.every.split(",") if part)
    for family in asked.zoo.split(","):
        for position, (_, name, make) in enumerate(getattr(zoo, f"{family}_zoo")()):
            if position % int(every.get(family, 1)):
                continue
            if name in done or (asked.names and name not in asked.names.split(",")):
                continue
            if time.monotonic() > end:
                print("PAUSED")
                return
            row = {"zoo": family, "name": name} | isolated(
                lambda make=make: measure(make, asked.library, asked.limit), asked.limit)
            with asked.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)


if __name__ == "__main__":
    main()
