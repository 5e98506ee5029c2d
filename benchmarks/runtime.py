"""Pruned networks on secateur's kernels beside every other engine that can be installed, on this machine.

    python benchmarks/runtime.py --install
    python benchmarks/runtime.py --net mlp --threads 1 --seconds-per-case 2 --time 50

Each case is one (net, sparsity, batch, threads). Every engine's outputs are checked against torch
eager in double precision first; one that is wrong is named and not timed. Then the engines take turns,
round by round, a short block of calls each; a block's time is the median of its calls. Peers run in
processes and environments of their own under ``--peers-folder``; those that are not there are named
with the reason. The file is written after every case, and a case that is in it already is not measured
again without ``--again``, so a run can be cut into slices (``--time``: no case is begun after so many seconds).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import facts
import numpy as np
import torch
from engines import ENGINES, PEERS, Peer, Timer, install, opened
from nets import NETS, network
from ratios import summary

from secateur.runtime.codegen import isa

RESULTS = Path(__file__).parent / "results" / "runtime.json"
KEYS = ("net", "threads", "sparsity", "batch")
SLOW = 5
"""An engine that takes so many times as long as torch eager gets two rounds."""


def case(key: dict[str, Any], engines: dict[str, Any], seconds: float, rounds: int) -> dict[str, Any]:
    """Check every engine, then let them take turns for about ``seconds``."""
    net = network(key["net"], key["sparsity"])
    x = torch.randn(key["batch"], *NETS[key["net"]].shape)
    exact = net.double()(x.double()).numpy()
    net.float()
    row: dict[str, Any] = {**key, "engines": {}, "problems": {}}
    timers: dict[str, Timer] = {}
    for label, engine in engines.items():
        try:
            timers[label], row["engines"][label] = opened(label, engine, net, x, exact)
        except Exception as problem:
            row["problems"][label] = str(problem).splitlines()[0][:160]
    return row | {"engines": turns(row["engines"], timers, seconds, rounds)}


def turns(entries: dict[str, Any], timers: dict[str, Timer], seconds: float, rounds: int) -> dict[str, Any]:
    """The entries with the seconds of each round; torch eager goes first."""
    block = seconds / rounds / max(1, len(timers))
    rest = 0.01 if torch.get_num_threads() > 1 else 0
    for turn, label in itertools.product(range(rounds), timers):
        times = entries[label].setdefault("seconds", [])
        if turn < 2 or min(times) < SLOW * min(entries["torch eager"]["seconds"]):
            time.sleep(rest)
            times.append(float(f"{timers[label](block):.4g}"))
    return entries


def machine() -> dict[str, Any]:
    """Facts about this machine and its software."""
    import llvmlite

    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.processor())
    return {"cpu": cpu, "cores": os.cpu_count(), "os": platform.platform(), "python": platform.python_version(),
            "torch": torch.__version__, "numpy": np.__version__, "llvmlite": llvmlite.__version__,
            "isa": isa.available()}


def cases(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What the command line asks for, batches innermost; a net's largest batch is that of ``NETS``."""
    threads = os.cpu_count() or 1 if args.threads == "all" else int(args.threads)
    for net, sparsity, batch in itertools.product(args.net, args.sparsity, args.batch):
        if batch <= NETS[net].most:
            yield {"net": net, "threads": threads, "sparsity": sparsity, "batch": batch}


def peers(names: list[str], folder: Path, threads: int) -> tuple[dict[str, Any], dict[str, str]]:
    """The engines in processes of their own that are there, and why the others are not."""
    there, absent = {}, {}
    for name in names:
        try:
            there[name] = Peer(name, folder, threads)
        except FileNotFoundError as reason:
            absent[name] = str(reason)
    return there, absent


def listed(kind: Any) -> Any:
    """A reader of values with commas between them."""
    return lambda text: [kind(item) for item in text.split(",") if item]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default=list(NETS), type=listed(str), help="|".join(NETS))
    parser.add_argument("--batch", default=[1, 2, 8, 16, 64, 256, 1024], type=listed(int))
    parser.add_argument("--sparsity", default=[0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98], type=listed(float))
    parser.add_argument("--threads", default="1", help="a count, or 'all'")
    parser.add_argument("--engines", default=list(ENGINES), type=listed(str), help="in this process")
    parser.add_argument("--peers", default=list(PEERS), type=listed(str), help="in processes of their own")
    parser.add_argument("--peers-folder", type=Path, default=Path.home() / ".cache" / "secateur" / "peers")
    parser.add_argument("--install", action="store_true", help="make the peers' environments, and nothing else")
    parser.add_argument("--seconds-per-case", type=float, default=3.0, help="of timing; building comes on top")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--time", type=float, default=1e9, help="begin no case after so many seconds")
    parser.add_argument("--again", action="store_true", help="measure cases that are in the file again")
    parser.add_argument("--facts", action="store_true", help="measure packing, bytes and the cached start instead")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def same(row: dict[str, Any], key: dict[str, Any]) -> bool:
    """Whether a row is of this case."""
    return all(row[k] == key[k] for k in KEYS)


def left(wanted: list[dict[str, Any]], rows: list[dict[str, Any]], engines: dict[str, Any]) -> list[dict[str, Any]]:
    """The cases that are not in the file with all of these engines, timed or with a reason why not."""
    return [key for key in wanted if not any(
        same(row, key) and engines.keys() <= row["engines"].keys() | row["problems"].keys() for row in rows)]


def write(path: Path, result: dict[str, Any]) -> None:
    """One case a line, in order; the old file stays until the new one is whole."""
    rows = sorted(result["rows"], key=lambda r: [list(NETS).index(r["net"]), *(r[k] for k in KEYS[1:])])
    head = {k: v for k, v in result.items() if k != "rows"}
    lines = ",\n".join(json.dumps(row) for row in rows)
    part = path.with_suffix(".part")
    part.write_text(f'{json.dumps(head, indent=1)[:-2]},\n "rows": [\n{lines}\n]}}\n')
    part.replace(path)


def main() -> None:
    """Measure what the command line asks for and the file has not."""
    begin, args = time.monotonic(), arguments()
    if args.install:
        return install(args.peers_folder)
    wanted = list(cases(args))
    torch.set_num_threads(wanted[0]["threads"] if wanted else 1)
    result = json.loads(args.out.read_text()) if args.out.exists() else {"rows": []}
    there, result["absent"] = peers(args.peers, args.peers_folder, torch.get_num_threads())
    engines = {**{e: ENGINES[e] for e in ("torch eager", *args.engines)}, **there}
    result["machine"] = machine()
    if args.facts:
        return write(args.out, result | {"facts": facts.measure()})
    for key in wanted if args.again else left(wanted, result["rows"], engines):
        if time.monotonic() - begin > args.time:
            break
        with torch.no_grad():
            row = case(key, engines, args.seconds_per_case, args.rounds)
        result["rows"] = [r for r in result["rows"] if not same(r, key)] + [row]
        write(args.out, result)
        print(" ".join(f"{k}={v}" for k, v in key.items()), summary(row), flush=True)
    return print(f"{len(left(wanted, result['rows'], engines))} of {len(wanted)} cases are left")


if __name__ == "__main__":
    main()
