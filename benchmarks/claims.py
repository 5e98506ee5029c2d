"""The sentences of the README that compare and that promise a time, from the benchmarks' results."""

from __future__ import annotations

from typing import Any

from accuracy_peers import Point, points
from accuracy_tables import Row, cell, of_case
from runtime_tables import LARGE, LINEAR, over_dense, row_of, times

PEERS = {"SparseGPT": "SparseGPT", "Wanda": "Wanda", "torch.nn.utils.prune": "`torch.nn.utils.prune`",
         "Torch-Pruning": "Torch-Pruning", "gradual": "gradual magnitude pruning as in `tfmot`"}
"""What stands in the name of a peer's method, and how the peer is called in a sentence."""

Found = dict[str, Any]


def ahead(accuracy: Found) -> str:
    """In how many comparisons with other methods ours keeps more accuracy, and in how many less."""
    found = list(points(accuracy))
    count = {v: sum(p.verdict == v for p in found) for v in ("ours", "level", "peer", "few")}
    behind = "none" if count["peer"] == 0 else str(count["peer"])
    return (f"**secateur kept more accuracy than other methods in {count['ours']} of {len(found)} comparisons, and "
            f"measurably less in {behind}.**\n"
            f"Each comparison prunes the same trained networks to the same sparsity. In {count['level']} the "
            f"difference lies within its 95% interval, and {count['few']} have too few seeds for an interval. "
            f"The other methods are {listed(peers_of(found))}.")


def peers_of(found: list[Point]) -> list[str]:
    """The peers that were run, each under the name that a reader knows."""
    return [said for word, said in PEERS.items() if any(word in p.peer for p in found)]


def listed(names: list[str]) -> str:
    """Names in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def durations(accuracy: Found, large: Found, coldstart: Found) -> str:
    """How long single steps take, with the network that each was timed on."""
    mlp = "the study's MLP (2.4 million weights)"
    lines = [("`sc.prune(model, 0.9)`", mlp, seconds(accuracy, "weight", "magnitude", 0.9)),
             ("the same with `data=`, 8,192 inputs", mlp, seconds(accuracy, "weight", "magnitude + rechoose", 0.9)),
             ("half of the neurons with `data=`, 8,192 inputs", mlp,
              seconds(accuracy, "neuron", "elimination + reconstruct", 0.5)),
             ("half of the neurons without `data=`, proof included",
              f"a Transformer of {large['parameters'] / 1e6:.0f} million parameters",
              large["export_s"] + large["beyond_export_s"]),
             ("`sc.compile` and the first call, kernels in the cache", mlp, started(coldstart["median"])),
             ("the same on a new machine", mlp, started(coldstart["empty_cache"]))]
    table = [row_of(["what", "network", "seconds"]), row_of(["---"] * 3)]
    return "\n".join([*table, *(row_of([what, net, f"{taken:.1f}"]) for what, net, taken in lines)])


def seconds(accuracy: Found, granularity: str, method: str, sparsity: float) -> float:
    """Processor seconds of one cut of the study's MLP."""
    row: Row | None = cell(of_case(accuracy, "mlp", "mnist", granularity), method, sparsity)
    if row is None:
        raise SystemExit(f"benchmarks/results/accuracy.json has no {method} at {sparsity:.0%}: run accuracy.py")
    return float(row["cpu_seconds"])


def started(parts: dict[str, float]) -> float:
    """Seconds from the network to the first outputs of the compiled one."""
    return parts["export"] + parts["first call and llvmlite"]


def speed(runtime: Found) -> str:
    """How fast compiled networks are beside the fastest dense float32 engine."""
    few, many = range_of(runtime, (1,)), range_of(runtime, LARGE)
    return (f"With 90% of the weights at zero, linear networks ran {few} times as fast as in the fastest dense float32 "
            f"engine at batch 1, and {many} times as fast at batches of 16 and more (one thread of an "
            f"{runtime['machine']['cpu']}).")


def range_of(runtime: Found, batches: tuple[int, ...]) -> str:
    """The lowest and the highest ratio of the linear networks at 90%, on one thread."""
    found = [ratio for r in runtime["rows"] if r["threads"] == 1 and r["net"] in LINEAR and r["sparsity"] == 0.9
             and r["batch"] in batches and (ratio := over_dense(r)) is not None]
    return f"{times(min(found))} to {times(max(found))}"
