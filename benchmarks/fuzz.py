"""Random small networks on the kernels of every instruction set of this machine against torch.

    python benchmarks/fuzz.py --count 10000 --time 600 --state fuzz.json

Seeds are run in blocks, each in a process of its own, so that a crash is found too. With ``--state`` a
run goes on where the last one stopped. Ends with exit code 1 where a network differed.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from random_networks import Network, network
from torch import Tensor

from secateur.core.errors import UnsupportedError
from secateur.runtime import network as engine
from secateur.runtime.codegen import isa
from secateur.runtime.frontend import capture
from secateur.runtime.schedule import choose

BATCHES = (0, 1, 2, 3, 5, 8, 13, 16, 17, 31, 33, 64, 65, 100)
BLOCK = 50


def once(seed: int) -> str:
    """One network under every instruction set at a few batches; what differs, or nothing."""
    net, rng = network(seed)
    example = torch.randn(rng.choice([1, 2, 5]), *net.shape)
    try:
        found = capture.capture(net, (example,))
    except UnsupportedError:
        return ""
    calls = [drawn(rng, net) for _ in range(3)]
    for name in isa.available():
        torch.set_num_threads(rng.choice([1, 1, 1, 1, 1, 1, 1, 1, 2]))
        fast = compiled(net, example, found, name, rng)
        for x in calls:
            if problem := compare(net, fast, x):
                return f"{name}, input {tuple(x.shape)} of strides {x.stride()}, {found.refused}: {problem}\n{net}"
    return ""


def compiled(net: Network, example: Tensor, found: capture.Captured, name: str, rng: random.Random) -> Any:
    """The network on kernels drawn from those that fit, captured only once."""
    engine.capture = lambda *_: copy.deepcopy(found)  # type: ignore[assignment]
    choose.KernelChooser.__call__ = lambda _, __, options: rng.choice(options)  # type: ignore[assignment,method-assign]
    return engine.KernelNetwork(net, (example,), budget=0, isa=name, always=True)


def drawn(rng: random.Random, net: Network) -> Tensor:
    """An input of any batch, one in four with strides of its own, one in five with a NaN or infinite value."""
    rows = rng.choice(BATCHES)
    x = torch.randn(rows, *net.shape)
    if rng.random() < 0.25:
        x = torch.randn(2 * rows, *net.shape[:-1], net.shape[-1] + 3)[::2, ..., 1:-2]
    if rows and rng.random() < 0.2:
        x = x.clone()
        x.view(-1)[rng.randrange(x.numel())] = rng.choice([float("nan"), float("inf"), -float("inf"), 1e-40, 1e30])
    return x


def compare(net: Network, fast: Any, x: Tensor) -> str:
    """Shapes, types, and values: NaN and infinity in the same places, else within what torch's own error allows."""
    with torch.no_grad():
        try:
            wanted = leaves(net(x.clone()))
        except RuntimeError:
            return ""
        got, exact = leaves(fast(x)), leaves(copy.deepcopy(net).double()(x.double()))
    for ours, theirs, truth in zip(got, wanted, exact, strict=True):
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            return f"got {ours.dtype} {tuple(ours.shape)}, torch {theirs.dtype} {tuple(theirs.shape)}"
        if not theirs.isfinite().all():
            if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4, equal_nan=True):
                return "NaN or infinity comes out differently"
        elif theirs.numel():
            own, error = ((y - truth).abs().max().item() for y in (theirs, ours))
            if not error <= 20 * own + 1e-5 * truth.abs().max().item() + 1e-30:
                return f"error {error:.2e}, torch's own {own:.2e}"
    return ""


def leaves(outputs: Any) -> list[Tensor]:
    """The outputs as a list."""
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def block(first: int, count: int) -> dict[int, str]:
    """A block of seeds in this process: the seeds that differ."""
    found = {}
    for seed in range(first, first + count):
        try:
            problem = once(seed)
        except Exception:
            problem = traceback.format_exc()[-600:]
        if problem:
            found[seed] = problem
    return found


def apart(first: int, count: int, cache: str) -> dict[int, str]:
    """A block in a process of its own; one that crashed is run again seed by seed."""
    code = [sys.executable, __file__, "--first", str(first), "--count", str(count), "--here"]
    done = subprocess.run(code, capture_output=True, text=True, env={**os.environ, "SECATEUR_CACHE": cache})
    if done.returncode == 0:
        return {int(seed): problem for seed, problem in json.loads(done.stdout.splitlines()[-1]).items()}
    if count == 1:
        return {first: f"the process ended with {done.returncode}: {done.stderr[-300:]}"}
    return functools.reduce(dict.__or__, (apart(seed, 1, cache) for seed in range(first, first + count)))


def main() -> int:
    """Fuzz."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--time", type=float, default=1e9, help="begin no block after so many seconds")
    parser.add_argument("--state", type=Path, help="a file that a later run goes on from")
    parser.add_argument("--here", action="store_true", help="in this process, the result as JSON")
    args = parser.parse_args()
    if args.here:
        print(json.dumps(block(args.first, args.count)))
        return 0
    begin, state = time.monotonic(), {"next": args.first, "problems": {}}
    if args.state and args.state.exists():
        state = json.loads(args.state.read_text())
    with tempfile.TemporaryDirectory() as folder:
        cache = os.environ.get("SECATEUR_CACHE", folder)
        while state["next"] < args.first + args.count and time.monotonic() - begin < args.time:
            size = min(BLOCK, args.first + args.count - state["next"])
            state["problems"] |= {str(s): p for s, p in apart(state["next"], size, cache).items()}
            state["next"] += size
            if args.state:
                args.state.write_text(json.dumps(state, indent=1))
    for seed, problem in state["problems"].items():
        print(f"seed {seed}: {problem}")
    print(f"seeds {args.first} to {state['next'] - 1}: {len(state['problems'])} mismatches, "
          f"{time.monotonic() - begin:.0f} s")
    return int(bool(state["problems"]))


if __name__ == "__main__":
    sys.exit(main())
