"""Requests gathered into batches: what ``serve.py`` runs a network with."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field

import torch
from torch import Tensor

import secateur as sc


class Refused(Exception):  # noqa: N818
    """A request that is not served: the status of the answer, and the reason."""

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status


@dataclass
class Job:
    """Some samples of one request, ``(n, *shape)``, and their outputs once they are there."""

    inputs: Tensor
    outputs: Future[Tensor] = field(default_factory=Future)


class Batcher:
    """Gathers jobs into batches and runs them, one batch at a time, in a thread of its own.

    A batch is run when it has ``most`` samples, or when its first job has waited for ``wait`` seconds. It is padded to
    the next power of two: the compiled network measures what is fastest for each batch size when it first meets it, and
    these few sizes are all met before the first request.

    Args:
        network: takes ``(n, *shape)``, gives ``(n, …)``.
        shape: of one sample.
        most: samples in a batch.
        wait: seconds.
        room: jobs in the queue.
    """

    def __init__(self, network: Callable[[Tensor], Tensor], shape: Sequence[int], most: int, wait: float, room: int):
        self.network, self.shape, self.most, self.wait = network, tuple(shape), most, wait
        self.jobs: queue.Queue[Job | None] = queue.Queue(room)
        self.next: Job | None = None
        self.answered, self.batches, self.closing, self.lock = 0, 0, False, threading.Lock()
        self.thread = threading.Thread(target=self.work, name="batches", daemon=True)

    def start(self, threads: int) -> None:
        """Meet every batch size, then begin; the threads of torch are set where it runs."""
        ready: Future[None] = Future()
        self.threads, self.ready = threads, ready
        self.thread.start()
        ready.result()

    def submit(self, inputs: Tensor) -> Future[Tensor]:
        """The outputs of some samples, once they are there; a future that is cancelled before that is not run.

        Raises:
            Refused: the queue is full, or the server is closing.
        """
        job = Job(inputs)
        try:
            with self.lock:
                if self.closing:
                    raise Refused(503, "the server is closing")
                self.jobs.put_nowait(job)
        except queue.Full:
            raise Refused(503, f"the queue is full ({self.jobs.maxsize} requests wait); try again") from None
        return job.outputs

    def close(self, seconds: float | None = None) -> None:
        """Finish what is in the queue, then end; a network that does not answer is left after so many seconds."""
        with self.lock:
            self.closing = True
        with suppress(queue.Full):
            self.jobs.put(None, timeout=seconds)
        self.thread.join(seconds)

    def work(self) -> None:
        """The thread: batch after batch."""
        try:
            torch.set_num_threads(self.threads)
            with torch.inference_mode():
                for size in sizes(self.most):
                    outputs = self.network(torch.zeros(size, *self.shape))
                    if not isinstance(outputs, Tensor) or outputs.shape[:1] != (size,):
                        raise sc.SecateurError("served is a network that gives one tensor, a row for each sample")
            self.ready.set_result(None)
        except Exception as error:
            self.ready.set_exception(error)
            return
        while jobs := self.gather():
            self.run(jobs)

    def gather(self) -> list[Job]:
        """The jobs of the next batch; none at the end."""
        first = self.next or self.jobs.get()
        self.next, jobs = None, [first] if first else []
        count, end = len(first.inputs) if first else 0, time.monotonic() + self.wait
        while first and count < self.most:
            try:
                job = self.jobs.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                break
            if job is None:
                self.jobs.put(None)
                break
            if count + len(job.inputs) > self.most:
                self.next = job
                break
            jobs.append(job)
            count += len(job.inputs)
        return jobs

    def run(self, jobs: list[Job]) -> None:
        """Run one batch, and give each job its own rows."""
        jobs = [job for job in jobs if job.outputs.set_running_or_notify_cancel()]
        if not jobs:
            return
        counts = [len(job.inputs) for job in jobs]
        padded = next(size for size in sizes(self.most) if size >= sum(counts))
        try:
            with torch.inference_mode():
                blank = torch.zeros(padded - sum(counts), *self.shape)
                rows = self.network(torch.cat([*(job.inputs for job in jobs), blank]))[:sum(counts)].clone()
            for job, outputs in zip(jobs, rows.split(counts), strict=True):
                job.outputs.set_result(outputs)
        except Exception as error:
            for job in jobs:
                job.outputs.done() or job.outputs.set_exception(error)
        self.answered, self.batches = self.answered + len(jobs), self.batches + 1


def sizes(most: int) -> list[int]:
    """The batch sizes that are run: powers of two, the last one at least ``most``."""
    found = [1]
    while found[-1] < most:
        found.append(2 * found[-1])
    return found
