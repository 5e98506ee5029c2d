"""What the last step of recovery best buys: points lost without labels on the study's MLP, beside refits and peers.

    python benchmarks/distil.py [--first 0] [--seeds 5] [--threads 1] [--again] [--out FILE]

Each network is trained on MNIST as in a study. Methods get the same 8,192 samples without labels. Results are kept in
benchmarks/results/distil.json as they come; what is there is not computed again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accuracy_methods import Case, published, sparsegpt, wanda
from accuracy_peers import half_interval

import secateur as sc
from secateur.core.machine import machine
from secateur.measure.accuracy import evaluate

OUT = Path(__file__).parent / "results" / "distil.json"
GRID = {"weight": (0.9, 0.95, 0.98, 0.99), "neuron": (0.8, 0.9, 0.95), "1x4": (0.8, 0.9, 0.95), "16x4": (0.8, 0.9)}
PEERS = {"published SparseGPT": published(sparsegpt), "published Wanda": published(wanda)}
METHODS = ("best", "refit", "none", *PEERS)
AIMS = {("weight", 0.95): 0.05, ("weight", 0.98): 0.45, ("weight", 0.99): 1.85, ("neuron", 0.8): 0.0,
        ("neuron", 0.9): 0.15, ("neuron", 0.95): 1.1, ("1x4", 0.8): 0.05, ("1x4", 0.9): 0.2, ("1x4", 0.95): 0.65,
        ("16x4", 0.8): 0.25, ("16x4", 0.9): 0.9}
"""Points lost at most."""
Cell = tuple[int, str, float, str]


def cells(first: int, seeds: int) -> Iterator[Cell]:
    """Every seed, granularity, sparsity and method, the newest method first."""
    for method in METHODS:
        for seed in range(first, first + seeds):
            for granularity, grid in GRID.items():
                if method not in PEERS or granularity == "weight":
                    yield from ((seed, granularity, sparsity, method) for sparsity in grid)


def cut(case: Case, granularity: str, sparsity: float, method: str) -> torch.nn.Module:
    """The network of a cell."""
    if method in PEERS:
        return PEERS[method](case, sparsity)
    criterion = {"criterion": "l2" if granularity == "neuron" else "magnitude"} if method == "none" else {}
    return sc.prune(case.network, sparsity, granularity=granularity, recovery=method, data=case.inputs, seed=case.seed,
                    **criterion)


def accuracy(case: Case, net: torch.nn.Module) -> float:
    """In [0, 1], on the test set."""
    return evaluate(net, case.source.test_x, case.source.test_y).accuracy


def run(first: int, seeds: int, keep: Callable[[dict[str, Any]], None], rows: list[dict[str, Any]]) -> None:
    """Measure what is not there."""
    have, case, dense = {(r["seed"], r["granularity"], r["sparsity"], r["method"]) for r in rows}, Case("", "", -1), 0.0
    for seed, granularity, sparsity, method in cells(first, seeds):
        if (seed, granularity, sparsity, method) in have:
            continue
        if case.seed != seed:
            case = Case("mlp", "mnist", seed)
            dense = accuracy(case, case.network)
        wall, cpu = time.perf_counter(), time.process_time()
        net = cut(case, granularity, sparsity, method)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        reached = accuracy(case, net)
        keep({"seed": seed, "granularity": granularity, "sparsity": sparsity, "method": method, "dense": dense,
              "accuracy": reached, "lost": 100 * (dense - reached), "seconds": wall, "cpu_seconds": cpu})


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The mean of the points lost with half its 95% interval over the seeds, for each method and cut."""
    groups: dict[tuple[str, float, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["granularity"], row["sparsity"], row["method"]), []).append(row)
    return [{"granularity": granularity, "sparsity": sparsity, "method": method, "seeds": len(group),
             "lost": statistics.mean(r["lost"] for r in group), "half": half_interval([r["lost"] for r in group]),
             "cpu_seconds": statistics.median(r["cpu_seconds"] for r in group),
             "aim": AIMS.get((granularity, sparsity)) if method == "best" else None}
            for (granularity, sparsity, method), group in groups.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="measure everything anew")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    kept = options.out.exists() and not options.again
    rows: list[dict[str, Any]] = json.loads(options.out.read_text())["rows"] if kept else []

    def keep(row: dict[str, Any]) -> None:
        rows.append(row)
        print(row, flush=True)
        found = {"machine": machine(), "samples": 8192, "summary": summary(rows), "rows": rows}
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    run(options.first, options.seeds, keep, rows)


if __name__ == "__main__":
    main()
