"""What the runtime costs once: packed bytes, seconds of packing, the first call after a cached start."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from nets import NETS, network

from secateur import runtime
from secateur.runtime.codegen.isa import ISAS, pick

SPARSITY = 0.9
BATCHES = (1, 64)


def measure() -> dict[str, Any]:
    """Every figure, on the 784-1000-1000-500-200-10 network at 90 %."""
    return {"net": "mlp", "sparsity": SPARSITY, "bytes": {str(b): packed(b) for b in BATCHES},
            "packing_seconds": {str(w): packing(w) for w in (1, 64)},
            "cached_start": {str(b): cached_start(b) for b in BATCHES}}


def packed(batch: int) -> float:
    """Packed bytes over those of the pruned layers' dense weights, at most over the programs of a batch size."""
    fast = runtime.compile(network("mlp", SPARSITY), torch.zeros(batch, *NETS["mlp"].shape), always=True)
    shares = []
    for program in fast.runners[0].programs.values():
        steps = [s for s in program.steps if s.packed is not None][:-1]
        dense = sum(op.weight.nbytes for op in program.segment.ops[:-1] if op.weight is not None)
        shares.append(sum(step.bytes for step in steps) / dense)
    return max(shares)


def packing(width: int) -> float:
    """Seconds to pack all layers for one width of tile, the kernels being there; median of five."""
    from secateur.runtime.schedule.build import build

    fast = runtime.compile(network("mlp", SPARSITY), torch.zeros(width, *NETS["mlp"].shape), always=True)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        build(fast.runners[0].segment, width, pick(None) or ISAS["avx2"], lambda _, options: options[0])
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def cached_start(batch: int) -> dict[str, float]:
    """Seconds of compiling, of the first call and of a later one, in new processes with a cache of earlier ones."""
    with tempfile.TemporaryDirectory() as cache:
        runs = [json.loads(subprocess.run([sys.executable, __file__, cache, str(batch)], capture_output=True, text=True,
                                          check=True).stdout) for _ in range(4)]
    return {name: statistics.median(run[name] for run in runs[1:]) for name in runs[0]}


def start(batch: int) -> dict[str, float]:
    """One start in this process: capture by torch.export apart, as it is torch's and not kept."""
    from secateur.runtime import network as engine

    seconds: dict[str, float] = {}

    def clocked(name: str, call: Any) -> Any:
        begin = time.perf_counter()
        made = call()
        seconds[name] = time.perf_counter() - begin
        return made

    original = engine.capture
    engine.capture = lambda *a: clocked("capture", lambda: original(*a))
    net, x = network("mlp", SPARSITY), torch.randn(batch, *NETS["mlp"].shape)
    fast = clocked("compile", lambda: runtime.compile(net, x))
    clocked("first call", lambda: fast(x))
    clocked("later call", lambda: fast(x))
    return seconds


if __name__ == "__main__":
    import os

    os.environ["SECATEUR_CACHE"] = str(Path(sys.argv[1]))
    torch.set_num_threads(1)
    print(json.dumps(start(int(sys.argv[2]))))
