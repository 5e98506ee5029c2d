"""Serve a pruned network over HTTP: requests are gathered into batches, the batches run on secateur's sparse kernels.

    python examples/serve.py pruned.safetensors --shape 1,28,28

``POST /predict`` takes JSON, ``{"inputs": [[…], …]}``, a list of samples of ``--shape``, and answers ``{"outputs":
[[…], …]}`` in the same order. With ``Content-Type: application/octet-stream`` both are float32 values, little-endian,
one sample after the other. ``GET /health`` says what runs. A request that is wrong, or that can be read in two ways, is
answered with 400 and the reason; one that finds the server or the queue full with 503; one that is too long with 413 or
431; one that does not arrive in time with 408. SIGTERM and Ctrl-C let what was accepted finish.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from batches import Batcher
from http_server import HEAD_BYTES, Server
from torch import Tensor

import secateur as sc
from secateur import models


def loaded(args: argparse.Namespace) -> tuple[Callable[[Tensor], Tensor], str]:
    """The network of the file, compiled unless ``--dense``, and what it is in words."""
    torch.set_num_threads(args.threads)
    factory = (lambda: models.make_network(args.model, args.shape, args.classes)) if args.model else None
    network = sc.load(args.file, factory).eval()
    if args.dense:
        return network, f"{args.file} dense, torch"
    compiled = sc.compile(network, torch.zeros(1, *args.shape))
    return compiled, f"{args.file} compiled, engine {compiled.engine}"


async def serve(args: argparse.Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what was accepted."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(ended.set))
    network, what = loaded(args)
    batcher = Batcher(network, args.shape, args.max_batch, args.max_wait_ms / 1e3, args.queue)
    batcher.start(args.threads)
    server = Server(batcher, what, args.connections, args.request_seconds)
    listener = await asyncio.start_server(server.connect, args.host, args.port, limit=HEAD_BYTES, backlog=1024)
    print(f"serve: {what}, on http://{args.host}:{listener.sockets[0].getsockname()[1]}", flush=True)
    await ended.wait()
    cut = await server.drain(listener, args.grace_seconds)
    batcher.close(args.grace_seconds)
    print(f"serve: closed after {batcher.answered} requests in {batcher.batches} batches"
          + (f"; {cut} connections were cut off after {args.grace_seconds:g} seconds" if cut else ""), flush=True)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="of sc.save or secateur prune")
    parser.add_argument("--factory", "--model", dest="model", default="",
                        help="the network before the cut: built-in or pkg.module:factory; "
                             "not needed where the file holds its graph")
    parser.add_argument("--shape", required=True, type=lambda text: tuple(map(int, text.split(","))),
                        help="of one sample, such as 1,28,28")
    parser.add_argument("--classes", type=int, default=10, help="what a factory that asks for it is given")
    parser.add_argument("--dense", action="store_true", help="run it by torch, not compiled")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-batch", type=int, default=64, help="samples in a batch")
    parser.add_argument("--max-wait-ms", type=float, default=2.0, help="how long the first request of a batch waits")
    parser.add_argument("--queue", type=int, default=1024, help="requests that may wait")
    parser.add_argument("--connections", type=int, default=256, help="served at once")
    parser.add_argument("--request-seconds", type=float, default=10.0, help="in which a request has to arrive")
    parser.add_argument("--grace-seconds", type=float, default=20.0, help="in which what was accepted is finished")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.path.insert(0, "")
    with suppress(KeyboardInterrupt):
        try:
            asyncio.run(serve(arguments()))
        except (sc.SecateurError, OSError) as error:
            sys.exit(f"serve: {error}")
