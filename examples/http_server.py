"""Connections, each answered request after request: what ``serve.py`` puts between a client and the batches.

The number of connections, the bytes of a request and the time that it takes to arrive are bounded.
"""

from __future__ import annotations

import asyncio
import json
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import numpy as np
from batches import Batcher, Refused
from http_request import PATHS, RAW, Head, body_length, check, read_head, read_samples

HEAD_BYTES = 16_384
IDLE_S, ANSWER_S, LINGER_S = 30, 30, 2
"""Seconds that an open connection may be silent, that a network and then a client may take for an answer, and that a
connection stays half open after its last answer."""


class Connection:
    """One connection, kept open for many requests, one after the other."""

    def __init__(self, server: Server, reader: StreamReader, writer: StreamWriter):
        self.server, self.reader, self.writer = server, reader, writer
        self.idle, self.keep_open = False, False
        writer.transport.set_write_buffer_limits(0)

    async def serve(self) -> None:
        """Answer request after request, until one of the sides has had enough."""
        with suppress(OSError, EOFError):
            while await self.answer_next():
                self.idle = True
            await self.part()

    async def answer_next(self) -> bool:
        """Answer one request; whether another may follow."""
        with self.within(IDLE_S):
            first = await self.reader.read(1)
        self.idle = self.keep_open = False
        if not first:
            return False
        method = ""
        try:
            with self.within(self.server.request_s):
                head = read_head(first + await self.reader.readuntil(b"\r\n\r\n"))
                method = head.method
                body = await self.body(head)
            self.keep_open = head.keep_open
            await self.send(200, await self.server.content(head, body), method)
        except asyncio.LimitOverrunError:
            await self.send(431, {"error": f"the head has more bytes than allowed, {HEAD_BYTES}"})
        except TimeoutError:
            await self.send(408, {"error": f"the request took more than {self.server.request_s} seconds to arrive"})
        except Refused as why:
            await self.send(why.status, {"error": str(why)}, method, allow=PATHS.get(head.path) if method else None)
        except (OSError, EOFError):
            raise
        except Exception as error:
            await self.send(500, {"error": f"{type(error).__name__}: {error}"}, method)
        return self.keep_open

    async def body(self, head: Head) -> bytes:
        """What follows the head; of what is refused by its head nothing is read, and the connection ends."""
        length = body_length(head, self.server.longest)
        check(head)
        if "expect" in head.fields:
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await self.reader.readexactly(length)

    async def send(self, status: int, content: bytes | dict[str, Any], method: str = "",
                   allow: Sequence[str] | None = None) -> None:
        """Send an answer; one to HEAD has no body."""
        raw, self.keep_open = isinstance(content, bytes), self.keep_open and not self.server.closing
        body = content if isinstance(content, bytes) else json.dumps(content, allow_nan=False).encode()
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Date: {formatdate(usegmt=True)}",
                 f"Content-Type: {RAW if raw else 'application/json'}", f"Content-Length: {len(body)}",
                 *([f"Allow: {', '.join(allow)}"] if status == 405 and allow else []),
                 *([] if self.keep_open else ["Connection: close"])]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else body))
        with self.within(ANSWER_S):
            await self.writer.drain()

    async def turn_away(self) -> None:
        """Answer a connection for which there is no room, without reading a request."""
        with suppress(OSError, EOFError):
            await self.send(503, {"error": f"the server is full ({self.server.most} connections); try again"})
            await self.part()

    async def part(self) -> None:
        """Read on for a moment after the last answer: what lies there unread would make the system reset the line."""
        self.writer.write_eof()
        with self.within(LINGER_S):
            while await self.reader.read(HEAD_BYTES):
                pass

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """End a wait for the client with a TimeoutError after some seconds; the connection is of no more use then."""
        def expire() -> None:
            self.reader.set_exception(TimeoutError())
            if self.writer.transport.get_write_buffer_size():
                self.writer.transport.abort()

        timer = asyncio.get_running_loop().call_later(seconds, expire)
        try:
            yield
        finally:
            timer.cancel()


class Server:
    """What all connections share: the batcher, and how much they may ask of it.

    Args:
        most: connections that are served at once. As many again are told that the server is full; the rest is cut off.
        request_s: seconds that a request may take to arrive.
    """

    def __init__(self, batcher: Batcher, what: str, most: int, request_s: float):
        self.batcher, self.what, self.most, self.request_s = batcher, what, most, request_s
        self.began, self.closing, self.at_work = time.monotonic(), False, 0
        self.longest = 1024 + 32 * batcher.most * int(np.prod(batcher.shape))
        self.served: dict[Connection, asyncio.Task[Any]] = {}
        self.turned_away: dict[Connection, asyncio.Task[Any]] = {}

    def connect(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Serve a new connection where there is room."""
        connection, there_is_room = Connection(self, reader, writer), len(self.served) < self.most
        crowd = self.served if there_is_room else self.turned_away
        if len(crowd) >= self.most:
            return writer.transport.abort()
        work = connection.serve() if there_is_room else connection.turn_away()
        crowd[connection] = task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(lambda _: (crowd.pop(connection), writer.close()))
        return None

    async def content(self, head: Head, body: bytes) -> bytes | dict[str, Any]:
        """The answer to a request that was read."""
        if head.path == "/health":
            return self.health()
        self.at_work += 1
        try:
            job = self.batcher.submit(read_samples(body, head.raw, self.batcher.shape, self.batcher.most))
            outputs = await asyncio.wait_for(asyncio.wrap_future(job), ANSWER_S)
            return outputs.numpy().astype("<f4").tobytes() if head.raw else {"outputs": outputs.tolist()}
        except asyncio.TimeoutError:
            raise Refused(503, f"no answer within {ANSWER_S} seconds") from None
        finally:
            self.at_work -= 1

    def health(self) -> dict[str, Any]:
        """What runs, and how much it has done."""
        own = self.batcher
        return {"status": "closing" if self.closing else "ok", "runs": self.what, "shape": list(own.shape),
                "connections": len(self.served), "at_work": self.at_work, "queued": own.jobs.qsize(),
                "answered": own.answered, "batches": own.batches, "seconds": round(time.monotonic() - self.began, 1)}

    async def drain(self, listener: asyncio.Server, seconds: float) -> int:
        """Take no more connections and finish those that are there; how many were cut off in the end."""
        for _ in range(3):  # what the system has accepted by now is taken
            await asyncio.sleep(0)
        self.closing = True
        listener.close()
        await self.parted(min(1, seconds))  # over an open connection a request may be on its way
        for connection in [c for c in self.served if c.idle]:
            connection.writer.close()
        await self.parted(seconds)
        left = {**self.served, **self.turned_away}
        for connection, task in left.items():
            connection.writer.transport.abort()
            task.cancel()
        return len(left)

    async def parted(self, seconds: float) -> None:
        """Wait for the connections to end."""
        if tasks := [*self.served.values()]:
            await asyncio.wait(tasks, timeout=seconds)
