"""What each cut costs: every criterion and recovery beside the peers, on the same trained networks and samples.

    python benchmarks/accuracy.py [--model mlp] [--data mnist] [--seeds 5] [--methods A,B] [--sparsity 0.9,0.95]
    python benchmarks/accuracy.py --plan
    python benchmarks/accuracy.py --write

``--plan`` runs what benchmarks/accuracy_plan.py lists, in its order. Networks are trained once and kept in
``~/.cache/secateur/accuracy``; so is each result as it comes, in ``rows.jsonl``, and what is there is not computed
again. ``--write`` puts their means with 95% intervals into benchmarks/results/accuracy.json. The output layer stays
whole. Methods that take data get 8,192 samples of the training part, without labels unless the method says otherwise.
Torch-Pruning is an optional peer (``pip install torch-pruning==1.6.1``).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch
from accuracy_methods import CACHE, METHODS, SAMPLES, Case
from accuracy_peers import half_interval
from accuracy_plan import GRIDS, Part, parts, plan

from secateur.core.machine import machine
from secateur.measure.accuracy import evaluate

HERE = Path(__file__).parent


def done() -> dict[str, dict[str, Any]]:
    """The results so far, by their settings."""
    path = CACHE / "rows.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {key(row): row for row in rows}


def key(row: dict[str, Any]) -> str:
    return "/".join(str(row[k]) for k in ("model", "data", "seed", "granularity", "method", "sparsity"))


def keep(row: dict[str, Any]) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "rows.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(row, flush=True)


def measured(case: Case, granularity: str, name: str, sparsity: float) -> dict[str, Any]:
    """One result: accuracy in [0, 1], seconds of wall and processor, what it reached."""
    wall, cpu = time.perf_counter(), time.process_time()
    net = METHODS[granularity][name](case, sparsity)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"model": case.model, "data": case.data, "seed": case.seed, "granularity": granularity, "method": name,
            "sparsity": sparsity, "accuracy": evaluate(net, case.source.test_x, case.source.test_y).accuracy,
            "parameters": sum(p.numel() for p in net.parameters()),
            "nonzeros": sum(int(p.count_nonzero()) for p in net.parameters()), "seconds": wall, "cpu_seconds": cpu}


def run(parts: Iterable[Part]) -> None:
    """All cells that were asked for and are not there."""
    have, case = done(), Case("", "", 0)
    for part in parts:
        wanted = Case(part.model, part.data, part.seed)
        case = case if case == wanted else wanted
        row = {"model": part.model, "data": part.data, "seed": part.seed, "granularity": "", "method": "dense",
               "sparsity": 0.0}
        if key(row) not in have:
            reached = evaluate(case.network, case.source.test_x, case.source.test_y).accuracy
            have[key(row)] = {**row, "accuracy": reached}
            keep(have[key(row)])
        for name, sparsity in product(part.methods, part.grid):
            row = {**row, "granularity": part.granularity, "method": name, "sparsity": sparsity}
            if key(row) not in have:
                have[key(row)] = measured(case, part.granularity, name, sparsity)
                keep(have[key(row)])


def asked(options: argparse.Namespace) -> Iterator[Part]:
    """The parts that the command line names."""
    for granularity in options.granularity:
        grid = {granularity: tuple(options.sparsity) or GRIDS[granularity]}
        names = tuple(n for n in METHODS[granularity] if n in options.methods or not options.methods)
        if names:
            yield from parts(options.model, options.data, {granularity: names}, grid, options.seeds)


def write() -> None:
    """Means and 95% intervals over the seeds (Student's t, from three seeds on), as JSON for the tables."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in done().values():
        groups.setdefault(tuple(row[k] for k in ("model", "data", "granularity", "method", "sparsity")), []).append(row)
    rows = [{**dict(zip(("model", "data", "granularity", "method", "sparsity"), group, strict=True)),
             **summary(members)} for group, members in sorted(groups.items())]
    result = {"machine": machine(), "samples": SAMPLES, "rows": rows}
    (HERE / "results" / "accuracy.json").write_text(json.dumps(result, indent=1) + "\n")


def summary(members: list[dict[str, Any]]) -> dict[str, Any]:
    values, n = [m["accuracy"] for m in members], len(members)
    by_seed = {str(m["seed"]): m["accuracy"] for m in sorted(members, key=lambda m: m["seed"])}
    return {"seeds": n, "accuracy": statistics.mean(values), "half": half_interval(values), "by_seed": by_seed,
            "nonzeros": members[0].get("nonzeros"), "cpu_seconds": statistics.median(m.get("cpu_seconds", 0.0)
                                                                                   for m in members)}


def words(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def numbers(text: str) -> Iterator[float]:
    return [float(part) for part in words(text)]  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mlp")
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--granularity", type=words, default=["weight", "neuron"])
    parser.add_argument("--methods", type=words, default=[])
    parser.add_argument("--sparsity", type=numbers, default=[])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    write() if options.write else run(plan() if options.plan else asked(options))


if __name__ == "__main__":
    main()
