"""The first call of a compiled network in a new process, its kernels and choices kept on disk by an earlier one.

    python benchmarks/coldstart.py --rounds 5 --out benchmarks/results/coldstart.json

The network is the study's 784-1000-1000-500-200-10 MLP at 90 %, batch 64, one thread. Each round is a
process of its own. *first call* is all that follows ``torch.export`` (which is a part of compiling a network,
whatever runs it): kernels found and loaded, the kept choice read, weights packed, one batch run. The imports of
torch, of secateur and of llvmlite come before; llvmlite's is given beside it, and the sum of both.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZES = (784, 1000, 1000, 500, 200, 10)


def network() -> Any:
    """The pruned MLP."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers = [m for a, b in itertools.pairwise(SIZES) for m in (nn.Linear(a, b, bias=False), nn.ReLU())]
    with torch.no_grad():
        for layer in layers[:-2:2]:
            flat = layer.weight.view(-1)
            flat[flat.abs().argsort()[:round(0.9 * len(flat))]] = 0
    return nn.Sequential(*layers[:-1]).eval()


class Watch:
    """Seconds spent in functions, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def on(self, place: Any, function: str, name: str) -> None:
        """Time a function of a module or class from now on."""
        real = getattr(place, function)
        setattr(place, function, lambda *a, **k: self.timed(name, lambda: real(*a, **k)))

    def timed(self, name: str, call: Callable[[], Any]) -> Any:
        """Run and add up."""
        start = time.perf_counter()
        try:
            return call()
        finally:
            self.seconds[name] = self.seconds.get(name, 0) + time.perf_counter() - start


def child() -> None:
    """One cold start; prints seconds as JSON."""
    watch = Watch()
    import torch

    watch.timed("llvmlite", lambda: __import__("llvmlite.binding"))
    from secateur.runtime import network as engine

    torch.set_num_threads(1)
    net, x = network(), torch.rand(64, SIZES[0])
    watch.on(engine, "capture", "export")
    from secateur.runtime.codegen import jit
    from secateur.runtime.packing import pack
    from secateur.runtime.schedule.candidates import Candidate

    watch.on(Candidate, "pack", "pack")
    watch.on(pack.Csr, "of", "find non-zeros")
    watch.on(jit, "address", "load kernels")
    start = time.perf_counter()
    fast = engine.KernelNetwork(net, (x,))
    whole = time.perf_counter() - start
    first = whole - watch.seconds["export"]
    found = watch.seconds | {"first call": first, "first call and llvmlite": first + watch.seconds["llvmlite"]}
    print(json.dumps(found | {"next call": min(_next(fast, x) for _ in range(5))}))


def _next(fast: Any, x: Any) -> float:
    start = time.perf_counter()
    fast(x)
    return time.perf_counter() - start


def once(cache: str) -> dict[str, float]:
    """One child."""
    environment = {**os.environ, "SECATEUR_CACHE": cache, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, __file__, "--child"], env=environment, capture_output=True, text=True,
                          check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Fill the cache once, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", action="store_true")
    args = parser.parse_args()
    if args.child:
        return child()
    with tempfile.TemporaryDirectory() as cache:
        empty = once(cache)
        rounds = [once(cache) for _ in range(args.rounds)]
    medians = {name: statistics.median(r[name] for r in rounds) for name in rounds[0]}
    import torch

    result = {"machine": {"os": platform.platform(), "python": platform.python_version(), "torch": torch.__version__},
              "empty_cache": empty, "median": medians, "rounds": rounds}
    print(json.dumps(medians, indent=1))
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    return None


if __name__ == "__main__":
    main()
