"""Serve a pruned network over HTTP: requests are gathered into batches, the batches run on secateur's sparse kernels.

    python examples/serve.py pruned.safetensors --shape 1,28,28

``POST /predict`` takes JSON, ``{"inputs": [[…], …]}``, a list of samples of ``--shape``, and answers ``{"outputs":
[[…], …]}`` in the same order. With ``Content-Type: application/octet-stream`` both are float32 values, little-endian,
one sample after the other. ``GET /health`` says what runs. A wrong request is answered with 400 and the reason, one
that finds the queue full with 503. SIGTERM and Ctrl-C let the requests that are in the queue finish.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import torch
from batches import PATIENCE_S, Batcher, Refused
from torch import Tensor

import secateur as sc
from secateur import models

GRACE_S = 5
RAW = "application/octet-stream"
PATHS = {"/health": "GET, HEAD", "/predict": "POST"}


class Handler(BaseHTTPRequestHandler):
    """One connection, kept open for many requests."""

    server: Server
    protocol_version, timeout, wbufsize, disable_nagle_algorithm = "HTTP/1.1", PATIENCE_S, -1, True

    def do_GET(self) -> None:
        """The health of the server."""
        return self.answer(200, self.server.health()) if self.path == "/health" else self.refuse()

    def do_HEAD(self) -> None:
        """The same without a body."""
        self.do_GET()

    def do_POST(self) -> None:
        """The outputs of some samples."""
        raw = self.headers.get_content_type() == RAW
        with self.server.busy():
            try:
                body = self.body()
                if self.path != "/predict":
                    return self.refuse()
                outputs = self.server.batcher.submit(self.read(body, raw))
                self.answer(200, outputs.numpy().astype("<f4").tobytes() if raw else {"outputs": outputs.tolist()})
            except Refused as why:
                self.answer(why.status, {"error": str(why)})
            except OSError:
                raise
            except Exception as error:
                self.answer(500, {"error": f"{type(error).__name__}: {error}"})

    def refuse(self) -> None:
        """Tell of a path that is not there, or of a method that it does not take."""
        if self.path not in PATHS:
            return self.answer(404, {"error": f"no such path: {self.path}; there are {' and '.join(PATHS)}"})
        return self.answer(405, {"error": f"{self.command} {self.path}: allowed is {PATHS[self.path]}"},
                           Allow=PATHS[self.path])

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Tell what ``http.server`` itself refuses: a method that is none of ours (501), a request that is no HTTP.

        A body that comes with it is not read, so the connection ends.
        """
        self.close_connection = True
        return self.refuse() if code == 501 else self.answer(code, {"error": message or self.responses[code][0]})

    def body(self) -> bytes:
        """What was sent; of what is too long or of no known length, nothing is read and the connection ends."""
        length, most = self.headers.get("Content-Length", ""), self.server.longest
        number = length.isascii() and length.isdigit()
        if not number or len(length) > 12 or int(length) > most:
            self.close_connection = True
            raise Refused(413 if number else 400, f"Content-Length is '{length[:20]}'; allowed is up to {most}")
        return self.rfile.read(int(length))

    def read(self, body: bytes, raw: bool) -> Tensor:
        """The samples of a request, ``(n, *shape)``.

        Raises:
            Refused: they are not what the network takes; the message says what it takes.
        """
        shape, most = self.server.batcher.shape, self.server.batcher.most
        item = int(np.prod(shape))
        if raw and (not body or len(body) % (4 * item)):
            raise Refused(400, f"got {len(body)} bytes; allowed are samples of {item} float32 values, {4 * item} bytes")
        values = np.frombuffer(body, "<f4").reshape(-1, *shape) if raw else samples(body)
        if values.ndim < 1 or values.shape[1:] != shape or not 1 <= len(values) <= most:
            raise Refused(400, f"inputs have shape {list(values.shape)}; allowed is [n, {', '.join(map(str, shape))}], "
                               f"n from 1 to {most}")
        if not np.isfinite(values).all():
            raise Refused(400, "inputs hold values that are no finite float32 numbers")
        return torch.from_numpy(values.astype(np.float32))

    def answer(self, status: int, content: bytes | dict[str, Any], **headers: str) -> None:
        """Send an answer; one to HEAD has no body."""
        raw = isinstance(content, bytes)
        body = content if isinstance(content, bytes) else json.dumps(content, allow_nan=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", RAW if raw else "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection or self.server.batcher.closing:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of single requests."""


def samples(body: bytes) -> np.ndarray:
    """The inputs of a JSON body as an array.

    Raises:
        Refused: it is no JSON, or not of the form ``{"inputs": [[…], …]}``.
    """
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is no JSON: {str(error)[:100]}") from error
    if not isinstance(told, dict) or told.keys() != {"inputs"}:
        raise Refused(400, 'the body is no {"inputs": [sample, …]}')
    try:
        with np.errstate(over="ignore"):
            return np.asarray(told["inputs"], dtype=np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise Refused(400, f"inputs are no array of numbers: {str(error)[:100]}") from error


class Server(ThreadingHTTPServer):
    """A thread a connection; all share one batcher."""

    daemon_threads, request_queue_size = True, 128

    def __init__(self, address: tuple[str, int], batcher: Batcher, what: str):
        super().__init__(address, Handler)
        self.batcher, self.what, self.began = batcher, what, time.monotonic()
        self.at_work, self.idle = 0, threading.Condition()
        self.longest = 1024 + 32 * batcher.most * int(np.prod(batcher.shape))

    def health(self) -> dict[str, Any]:
        """What runs, and how much it has done."""
        own = self.batcher
        return {"status": "closing" if own.closing else "ok", "runs": self.what, "shape": list(own.shape),
                "queued": own.jobs.qsize(), "answered": own.answered, "batches": own.batches,
                "seconds": round(time.monotonic() - self.began, 1)}

    @contextmanager
    def busy(self) -> Iterator[None]:
        """While a request is at work."""
        with self.idle:
            self.at_work += 1
        try:
            yield
        finally:
            with self.idle:
                self.at_work -= 1
                self.idle.notify_all()

    def finish_answers(self) -> None:
        """Wait until every answer is sent, some seconds at most."""
        with self.idle:
            self.idle.wait_for(lambda: not self.at_work, GRACE_S)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error; anything else is one line."""
        if not isinstance(error := sys.exc_info()[1], OSError):
            print(f"serve: {type(error).__name__}: {error}", file=sys.stderr)


def loaded(args: argparse.Namespace) -> tuple[Callable[[Tensor], Tensor], str]:
    """The network of the file, compiled unless ``--dense``, and what it is in words."""
    torch.set_num_threads(args.threads)
    factory = (lambda: models.make_network(args.model, args.shape, args.classes)) if args.model else None
    network = sc.load(args.file, factory).eval()
    if args.dense:
        return network, f"{args.file} dense, torch"
    compiled = sc.compile(network, torch.zeros(1, *args.shape))
    return compiled, f"{args.file} compiled, engine {compiled.engine}"


def serve(args: argparse.Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what is in the queue."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    network, what = loaded(args)
    batcher = Batcher(network, args.shape, args.max_batch, args.max_wait_ms / 1e3, args.queue)
    batcher.start(args.threads)
    with Server((args.host, args.port), batcher, what) as server:
        listener = threading.Thread(target=server.serve_forever, args=(0.05,))
        listener.start()
        print(f"serve: {what}, on http://{args.host}:{server.server_port}", flush=True)
        ended.wait()
        batcher.close()
        server.shutdown()
        listener.join()
        server.finish_answers()
    print(f"serve: closed after {batcher.answered} requests in {batcher.batches} batches", flush=True)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="of sc.save or secateur prune")
    parser.add_argument("--model", default="", help="the network before the cut: built-in or pkg.module:factory; "
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
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.path.insert(0, "")
    with suppress(KeyboardInterrupt):
        try:
            serve(arguments())
        except (sc.SecateurError, OSError) as error:
            sys.exit(f"serve: {error}")
