"""Cuts half of every group of several hundred networks: ours, Torch-Pruning, torch-kirigami.

    python benchmarks/structures.py --zoo transformers,timm,torchvision,traps --library ours --out results.jsonl

needs transformers, timm, torchvision, torch-pruning and torch-kirigami beside secateur, in an environment of
its own. Every network runs in a process of its own with a time limit; a line of JSON for each is
appended to ``--out``, and networks that are in it already are not run again. ``--summary`` prints the counts.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
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

LIMIT_S = 120


def parameters(model: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(p.numel() for p in model.parameters())


def peak() -> int:
    """The most memory the process has held since :func:`reset_peak`, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def reset_peak() -> int:
    """Start measuring the peak anew; gives the memory that is held now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def ours(model: nn.Module, example: Any) -> dict[str, Any]:
    """Trace, plan at half, cut and prove."""
    import secateur as sc
    from secateur import graph
    from secateur.graph import capture
    from secateur.graph.cut import exported
    from secateur.prune import Selection

    size = sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()])
    start = time.perf_counter()
    found = capture.capture(model, example)
    row: dict[str, Any] = {"export_s": time.perf_counter() - start}
    before = reset_peak()
    start = time.perf_counter()
    structure = graph.analyse(model, found)
    row |= {"traced": True, "groups": sum(g.cuttable for g in structure.groups),
            "unknown": structure.trace.flow.unknown}
    try:
        plan = Selection(model, "neuron", structure=structure).plan(0.5)
        row["plan_s"] = time.perf_counter() - start
        small = sc.apply(model, plan)
    except sc.SecateurError as error:
        return row | {"refused": str(error)[:300], "s": time.perf_counter() - start}
    row |= {"s": time.perf_counter() - start, "peak": (peak() - before) / size, "bytes": size, "proved": True,
            "removed": 1 - parameters(small) / parameters(model), "notes": graph.notes(small)[:8],
            "kind": "graph" if isinstance(small, exported.ExportedNetwork) else "module"}
    return row


LIBRARIES = {"ours": ours, "torch-pruning": pruners.torch_pruning, "torch-pruning-heads": pruners.torch_pruning_heads,
             "torch-pruning-whole-heads": pruners.torch_pruning_whole_heads, "torch-kirigami": pruners.torch_kirigami}


def isolated(work: Any, limit: int = LIMIT_S) -> dict[str, Any]:
    """Run ``work`` in a child process for ``limit`` seconds of CPU time; what it gives, or how it ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        signal.alarm(8 * limit)
        os.write(writer, json.dumps(guarded(work)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(said) if said else {"error": f"ended by signal {status & 127}", "limit_s": limit}


def guarded(work: Any) -> dict[str, Any]:
    """What ``work`` gives, or its error in a line."""
    try:
        return work()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}


def measure(make: Any, library: str) -> dict[str, Any]:
    """Make one network and cut it."""
    try:
        model, example = make()
    except Exception as error:
        return {"no_model": f"{type(error).__name__}: {error}"[:300]}
    row: dict[str, Any] = {"parameters": parameters(model)}
    try:
        row |= LIBRARIES[library](model, example)
    except Exception as error:
        row["error"] = f"{type(error).__name__}: {error}"[:300]
    return row | {"rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def summary(path: Path) -> None:
    """Print the counts of a file of results, by zoo."""
    rows = [r for r in map(json.loads, path.read_text().splitlines()) if "no_model" not in r]
    for family in [*dict.fromkeys(r["zoo"] for r in rows), "all"]:
        some = [r for r in rows if family in (r["zoo"], "all")]
        done = [r for r in some if r.get("proved")]
        times = sorted(r["s"] for r in done) or [0.0]
        print(f"{family}: {len(some)} networks, proved {len(done)}, >=10% {sum(r['removed'] >= .1 for r in done)}, "
              f">=40% {sum(r['removed'] >= .4 for r in done)}, as module {sum(r['kind'] == 'module' for r in done)}, "
              f"median {times[len(times) // 2]:.2f} s, most {times[-1]:.1f} s, "
              f"refused {sum('refused' in r for r in some)}, error {sum('error' in r for r in some)}, "
              f"peak (of >40 MB) {max((r['peak'] for r in done if r['bytes'] > 4e7), default=0):.2f}")


def condensed(path: Path) -> dict[str, Any]:
    """The counts of a file of results, and the reasons of what was not cut, for the tables of the docs."""
    rows = [r for r in map(json.loads, path.read_text().splitlines()) if "no_model" not in r]
    zoos = []
    for family in [*dict.fromkeys(r["zoo"] for r in rows), "all"]:
        some = [r for r in rows if family in (r["zoo"], "all")]
        done = [r for r in some if r.get("proved")]
        times = sorted(r["s"] for r in done) or [0.0]
        zoos.append({"zoo": family, "networks": len(some), "proved": len(done),
                     "tenth": sum(r["removed"] >= 0.1 for r in done), "forty": sum(r["removed"] >= 0.4 for r in done),
                     "module": sum(r["kind"] == "module" for r in done),
                     "graph": sum(r["kind"] == "graph" for r in done), "refused": len(some) - len(done),
                     "median_s": times[len(times) // 2], "most_s": times[-1]})
    return {"zoos": zoos, "refused": {r["name"]: (r.get("refused") or r.get("error", ""))[:160]
                                      for r in rows if not r.get("proved")}}


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zoo", default="transformers,timm,torchvision,traps")
    parser.add_argument("--library", default="ours", choices=LIBRARIES)
    parser.add_argument("--out", type=Path, default=Path("structures.jsonl"))
    parser.add_argument("--names", default="")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after this long; run again to go on")
    parser.add_argument("--limit", type=int, default=LIMIT_S, help="seconds of CPU time that one network may take")
    parser.add_argument("--every", default="", help="which networks of a zoo: timm=3,transformers=3 takes each third")
    parser.add_argument("--summary", action="store_true")
    parser.add_argument("--json", type=Path, help="write the counts for benchmarks/table.py here")
    asked = parser.parse_args()
    if not asked.summary:
        run(asked)
    summary(asked.out)
    if asked.json:
        asked.json.write_text(json.dumps(condensed(asked.out), indent=1) + "\n")


def run(asked: argparse.Namespace) -> None:
    """Go through the zoos."""
    torch.set_num_threads(1)
    done = {json.loads(line)["name"] for line in asked.out.read_text().splitlines()} if asked.out.exists() else set()
    end = time.monotonic() + asked.seconds
    import secateur  # noqa: F401

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
            row = {"zoo": family, "name": name} | isolated(lambda make=make: measure(make, asked.library), asked.limit)
            with asked.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)


if __name__ == "__main__":
    main()
