"""Dense against sparse serving: the most requests a second at which 99 in 100 are answered within a bound.

    python benchmarks/serve.py --seconds 10 --rounds 5

``examples/serve.py`` runs twice on one core, once with the network run by torch and once compiled; one of the two gets
requests at a time, from another core. Arrivals are random (exponential gaps, the same for both), and go out whether
answers come or not; a latency counts from the moment that a request was due. The highest rate is found by halving, the
two servers by turns at each step; a rate holds if all answers are right and p99 is within the bound.
Rounds repeat the search with other arrivals; medians count.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nets
import numpy as np
import torch

import secateur as sc
from secateur.core.machine import machine

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "serve.json"
WAYS: dict[str, list[str]] = {"dense": ["--dense"], "sparse": []}
CONNECTIONS, BODIES = 48, 16
Request = tuple[bytes, np.ndarray]


class Client:
    """Connections to one server, and requests with the answers that are right."""

    def __init__(self, port: int, requests: list[Request]):
        self.port, self.requests, self.wrong = port, requests, 0
        self.free: asyncio.Queue[Any] = asyncio.Queue()

    async def __aenter__(self) -> Client:
        for _ in range(CONNECTIONS):
            self.free.put_nowait(await asyncio.open_connection("127.0.0.1", self.port))
        return self

    async def __aexit__(self, *_: object) -> None:
        while not self.free.empty():
            self.free.get_nowait()[1].close()

    async def ask(self, number: int, due: float) -> float:
        """One request; the seconds from when it was due to its answer."""
        body, expected = self.requests[number % BODIES]
        reader, writer = await self.free.get()
        writer.write(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
                     b"Content-Length: %d\r\n\r\n" % len(body) + body)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        answer = await reader.readexactly(length)
        spent = time.perf_counter() - due
        self.free.put_nowait((reader, writer))
        right = b" 200 " in head[:20] and np.allclose(np.frombuffer(answer, "<f4"), expected, rtol=1e-3, atol=1e-4)
        self.wrong += not right
        return spent

    async def open_loop(self, rate: float, seconds: float, seed: int) -> dict[str, float]:
        """Requests at random moments, ``rate`` of them a second."""
        gaps, due, tasks = random.Random(seed), time.perf_counter() + 0.05, []
        begin = due
        while due < begin + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(self.ask(len(tasks), due)))
            due += gaps.expovariate(rate)
        spent = await asyncio.gather(*tasks)
        p50, p99 = (float(v) for v in np.percentile(spent, [50, 99]))
        return {"rate": rate, "requests": len(tasks), "p50": p50, "p99": p99}

    async def closed_loop(self, seconds: float, lanes: int) -> float:
        """The requests a second of so many clients, each of which asks again when it is answered."""
        begin = time.perf_counter()

        async def lane(first: int) -> int:
            count = 0
            while time.perf_counter() < begin + seconds:
                await self.ask(first + count, time.perf_counter())
                count += 1
            return count

        done = await asyncio.gather(*(lane(k) for k in range(lanes)))
        return sum(done) / (time.perf_counter() - begin)


def trial(port: int, requests: list[Request], rate: float, seconds: float, seed: int) -> dict[str, Any]:
    """One rate at one server."""
    async def go() -> dict[str, Any]:
        async with Client(port, requests) as client:
            found = await client.open_loop(rate, seconds, seed)
            return {**found, "wrong": client.wrong}

    return asyncio.run(go())


def closed(port: int, requests: list[Request], seconds: float, lanes: int) -> float:
    """The requests a second that a server answers at most."""
    async def go() -> float:
        async with Client(port, requests) as client:
            rate = await client.closed_loop(seconds, lanes)
            if client.wrong:
                raise RuntimeError(f"{client.wrong} answers were wrong")
            return rate

    return asyncio.run(go())


@contextlib.contextmanager
def server(way: str, file: Path, args: argparse.Namespace) -> Iterator[int]:
    """The port of a server on the first core of this machine."""
    core = min(os.sched_getaffinity(0))
    words = [sys.executable, str(HERE.parent / "examples" / "serve.py"), str(file), "--model", "nets:served", "--shape",
             "784", "--port", "0", "--max-batch", str(args.max_batch), "--max-wait-ms", str(args.max_wait_ms),
             *WAYS[way]]
    paths = os.pathsep.join([str(HERE), *filter(None, sys.path)])
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=file.parent,
                               env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
                               preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        yield int(said.strip().rpartition(":")[2])
    finally:
        process.terminate()
        process.communicate(timeout=60)


def search(ports: dict[str, int], requests: list[Request], most: dict[str, float], args: argparse.Namespace,
           seed: int) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """The highest rate that holds, of each server, and every trial."""
    low, high, trials = dict.fromkeys(ports, 0.0), {way: 1.2 * rate for way, rate in most.items()}, []
    for _ in range(args.steps):
        for way, port in ports.items():
            rate = (low[way] + high[way]) / 2
            found = trial(port, requests, rate, args.seconds, seed)
            holds = not found["wrong"] and found["p99"] <= args.bound_ms / 1e3
            (low if holds else high)[way] = rate
            trials.append({"way": way, "seed": seed, "holds": holds, **found})
            print(f"{way}: {rate:.0f} a second, p99 {found['p99'] * 1e3:.1f} ms, {'holds' if holds else 'does not'}")
    return low, trials


def prepared(folder: Path, args: argparse.Namespace) -> tuple[Path, list[Request]]:
    """The file of the cut network, and requests with their answers."""
    torch.manual_seed(0)
    made = nets.served().eval()
    cut = sc.apply(made, sc.plan(made, args.sparsity, skip=()))
    inputs = torch.rand(BODIES, args.samples, 784)
    with torch.inference_mode():
        answers = cut(inputs.flatten(0, 1)).view(BODIES, -1).numpy()
    requests = [(x.numpy().tobytes(), y) for x, y in zip(inputs, answers, strict=True)]
    return sc.save(cut, folder / "served.safetensors"), requests


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Both servers, by turns."""
    cores, box = sorted(os.sched_getaffinity(0)), machine()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        file, requests = prepared(Path(folder), args)
        ports = {way: stack.enter_context(server(way, file, args)) for way in WAYS}
        if len(cores) > 1:
            os.sched_setaffinity(0, set(cores[1:]))
        most = {way: closed(port, requests, args.seconds, 8) for way, port in ports.items()}
        print(", ".join(f"{way}: {rate:.0f} requests a second from 8 clients" for way, rate in most.items()))
        rounds = [search(ports, requests, most, args, seed) for seed in range(args.rounds)]
    trials = [one for _, some in rounds for one in some]
    ways = {way: summed([found[way] for found, _ in rounds], [t for t in trials if t["way"] == way], most[way])
            for way in WAYS}
    return {"machine": box | {"server_cores": 1, "client_cores": max(1, len(cores) - 1)},
            "load": os.getloadavg()[1], "settings": {k: v for k, v in vars(args).items() if k != "out"},
            "ways": ways, "trials": trials,
            "ratio": ways["sparse"]["rate"] / ways["dense"]["rate"] if ways["dense"]["rate"] else None}


def summed(rates: list[float], trials: list[dict[str, Any]], most: float) -> dict[str, Any]:
    """The median of the highest rates, and the latencies at those."""
    at = [t for t in trials if t["holds"] and t["rate"] in rates]
    return {"rates": rates, "rate": statistics.median(rates), "closed": most,
            **{p: statistics.median(t[p] for t in at) if at else None for p in ("p50", "p99")}}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--samples", type=int, default=16, help="in a request")
    parser.add_argument("--bound-ms", type=float, default=25.0, help="p99 within it")
    parser.add_argument("--seconds", type=float, default=5.0, help="a trial")
    parser.add_argument("--steps", type=int, default=7, help="halvings of a search")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-batch", type=int, default=64)
    parser.add_argument("--max-wait-ms", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    found = measure(args)
    command = " ".join(["python benchmarks/serve.py", *sys.argv[1:]])
    args.out.write_text(json.dumps({"command": command, **found}, indent=1) + "\n")
    print(f"{args.out}: sparse answers {found['ratio'] or float('nan'):.2f} times as many requests within the bound")


if __name__ == "__main__":
    main()
