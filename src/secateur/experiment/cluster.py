"""Points measured on a Dask cluster whose workers may be lost at any moment.

What a point needs are results of tasks, which Dask computes again when the worker that held them is lost; scattered
data would be lost with it. A point whose worker is lost runs on another one, as often as the scheduler's setting
``distributed.scheduler.allowed-failures`` says.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import pkgutil
import platform
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from secateur.core.errors import MissingExtraError, RunError, SecateurError, readable
from secateur.core.version import __version__
from secateur.experiment.measuring import Job, Result, measure
from secateur.experiment.point import Point
from secateur.experiment.trial import Bundle

WORKERLESS_S = 60
"""Seconds without a worker, or without a word of the scheduler, after which a study ends."""
ANSWER_S = 10
"""Seconds in which a scheduler has to answer when a study begins."""

_LOOK_S = 5
_CANCELLED = (asyncio.CancelledError, concurrent.futures.CancelledError)
_VERSIONS = {"Python": (platform.python_version,), "torch": (pkgutil.resolve_name, "torch.version:__version__"),
             "secateur": (pkgutil.resolve_name, "secateur.core.version:__version__")}
"""How a worker is asked for its versions, by functions that every Python has."""

_one_at_a_time = threading.Lock()


def connect(address: str) -> Any:
    """A client of the scheduler at an address, whose workers make the rows that this machine would make.

    Raises:
        SecateurError: there is no scheduler, it has no workers, or a worker has other versions.
        MissingExtraError: Dask is not installed.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError("distributed", "cluster", "backend 'dask'") from error
    _check_answers(address)
    try:
        client = Client(address, timeout=ANSWER_S)
    except (OSError, ValueError) as error:
        raise SecateurError(f"no Dask scheduler answers at '{address}': {error}") from error
    try:
        if not _threads(client):
            raise SecateurError(f"the Dask scheduler at '{address}' has no workers")
        for name, question in _VERSIONS.items():
            for worker, found in client.run(*question, on_error="return").items():
                _check_version(worker, name, found)
    except BaseException:
        client.close()
        raise
    return client


def _check_answers(address: str) -> None:
    """Refuse an address where nothing answers as a scheduler does; a client of Dask's waits for one without end.

    Raises:
        SecateurError: the message says whether there is no connection, or none who speaks.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as thread:  # the caller's may run a loop, as a notebook's does
        try:
            thread.submit(asyncio.run, _identity(address)).result()
        except (asyncio.TimeoutError, TimeoutError) as error:
            raise SecateurError(f"no Dask scheduler answers at '{address}' within {ANSWER_S} seconds; a process that "
                                "accepts the connection is not a scheduler, or hangs") from error
        except (OSError, ValueError) as error:
            raise SecateurError(f"no Dask scheduler answers at '{address}': {error}") from error


async def _identity(address: str) -> Any:
    """What the scheduler at an address says of itself."""
    from distributed.core import rpc
    from distributed.security import Security

    async with rpc(address, timeout=ANSWER_S, connection_args=Security().get_connection_args("client")) as scheduler:
        return await asyncio.wait_for(scheduler.identity(), ANSWER_S)


def _threads(client: Any) -> dict[str, int]:
    """The threads of every worker, by its address; an ``OSError`` where the scheduler does not answer any more."""
    try:
        return dict(client.sync(client.scheduler.ncores, callback_timeout=WORKERLESS_S))
    except asyncio.TimeoutError as error:
        raise OSError(f"no answer within {WORKERLESS_S} seconds") from error


def run(jobs: Sequence[Job], address: str) -> Iterator[Result]:
    """Measure every job; gives ``(index, figures)`` in the order in which they finish.

    A point that was at work on each of several workers that died gives ``lost``, the reason, after all others: it is
    tried once more while no other point is at work.

    Raises:
        SecateurError: the scheduler is lost, it has no workers any more, or a worker cannot measure.
    """
    with _without_log(), connect(address) as client:
        cluster = _Cluster(client, address, jobs)
        suspects = []
        for index, figures in cluster.measure(range(len(jobs))):
            if "lost" in figures:
                suspects.append(index)
            else:
                yield index, figures
        cluster.carried.clear()
        yield from cluster.measure(suspects, alone=True)


@contextmanager
def _without_log() -> Iterator[None]:
    """Without Dask's own log, many lines for a lost connection, of which the study tells in one."""
    loggers = [logging.getLogger(n) for n in list(logging.root.manager.loggerDict) if n.startswith("distributed")]
    before = [one.disabled for one in loggers]
    try:
        for one in loggers:
            one.disabled = True
        yield
    finally:
        for one, disabled in zip(loggers, before, strict=True):
            one.disabled = disabled


class _Cluster:
    """The jobs of a study on a cluster."""

    def __init__(self, client: Any, address: str, jobs: Sequence[Job]):
        self.client, self.address, self.jobs = client, address, jobs
        self.carried: dict[Path | bytes, Any] = {}
        self.crowd = _crowd(_threads(client))

    def measure(self, indices: Sequence[int], alone: bool = False) -> Iterator[Result]:
        """Measure jobs, two a worker at once: none of them waits, and few are suspected with a point that kills."""
        waiting, running = deque(indices), dict[Any, int]()
        while waiting or running:
            at_once = 1 if alone else max(1, 2 * self._workers())
            while waiting and len(running) < at_once:
                index = waiting.popleft()
                running[self._submit(*self.jobs[index])] = index
            for future in self._wait(list(running)):
                yield running.pop(future), self._figures(future)

    def _submit(self, bundle: Bundle, point: Point) -> Any:
        contents = [self._carry(content) for content in (bundle.network, bundle.tests, bundle.training)]
        bare = replace(bundle, network=b"", tests=b"", training=None, recovered=None)
        return self.client.submit(_measure, bare, point, self.crowd, _versions(), *contents, pure=False)

    def _carry(self, content: Path | bytes | None) -> Any:
        """A file's bytes as the result of a task, sent once."""
        if content is None:
            return None
        if content not in self.carried:
            found = content.read_bytes() if isinstance(content, Path) else content
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "(?s).*Sending large graph")
                self.carried[content] = self.client.submit(bytes, found, pure=False)
        return self.carried[content]

    def _wait(self, futures: list[Any]) -> list[Any]:
        """The next futures that are done."""
        from distributed import wait
        from distributed.comm.core import CommClosedError

        seen = time.monotonic()
        while True:
            try:
                return list(wait(futures, timeout=_LOOK_S, return_when="FIRST_COMPLETED").done)
            except asyncio.TimeoutError:
                seen = time.monotonic() if self._workers() else seen
            except (CommClosedError, *_CANCELLED) as error:
                raise self._lost_scheduler() from error
            if time.monotonic() - seen > WORKERLESS_S:
                raise RunError(f"the Dask scheduler at '{self.address}' has had no workers for {WORKERLESS_S} seconds; "
                               "every finished row is kept: start workers and run the same command to continue")

    def _workers(self) -> int:
        """How many workers there are now."""
        try:
            return len(_threads(self.client))
        except (OSError, AttributeError, *_CANCELLED) as error:
            raise self._lost_scheduler() from error

    def _lost_scheduler(self) -> RunError:
        return RunError(f"the Dask scheduler at '{self.address}' is lost; every finished row is kept: start it again "
                        "and run the same command to continue")

    def _figures(self, future: Any) -> dict[str, Any]:
        """What a future gives; a point that cost several workers gives ``lost``."""
        from distributed import KilledWorker
        from distributed.comm.core import CommClosedError

        try:
            found = dict(future.result())
        except KilledWorker as error:
            return {"lost": f"{error.allowed_failures + 1} workers died while it ran"}
        except (CommClosedError, *_CANCELLED) as error:
            raise self._lost_scheduler() from error
        except (ImportError, AttributeError) as error:
            raise RunError(f"a worker of the Dask scheduler at '{self.address}' cannot measure: {readable(error)}; it "
                           "needs the same modules as this machine") from error
        if "failed" in found:
            raise RunError(f"{found['failed']}; every finished row is kept")
        return found


def _measure(bundle: Bundle, point: Point, crowd: int, versions: dict[str, str], network: bytes, tests: bytes,
             training: bytes | None) -> dict[str, Any]:
    """On a worker: one point at a time in each process, as torch's threads and random numbers belong to all of it.

    An error is given as text, ``failed``: not every error can be pickled, and one that cannot would never arrive.
    """
    from distributed import get_worker

    address = get_worker().address
    try:
        for name, found in _versions().items():
            _check_version(address, name, found, versions)
        with _one_at_a_time:
            return measure((replace(bundle, network=network, tests=tests, training=training), point), crowd)
    except SecateurError as error:
        return {"failed": f"Dask worker {address}: {error}"}
    except Exception as error:
        return {"failed": f"Dask worker {address}: {point}: {readable(error)}"}


def _versions() -> dict[str, str]:
    """What rows depend on besides the settings."""
    return {"Python": platform.python_version(), "torch": torch.__version__, "secateur": __version__}


def _check_version(worker: str, name: str, found: Any, expected: dict[str, str] | None = None) -> None:
    """Refuse a worker that has another version; builds of torch for other devices and patches of Python are alike."""
    wanted = (expected or _versions())[name]
    if isinstance(found, OSError):
        return  # the worker went away while it was asked
    if isinstance(found, Exception):
        raise RunError(f"the Dask worker at {worker} has no {name} ({readable(found)}); allowed is {wanted}")
    if _main_version(name, found) != _main_version(name, wanted):
        raise RunError(f"the Dask worker at {worker} has {name} {found}, this machine {wanted}; allowed is the same")


def _main_version(name: str, version: str) -> str:
    return version.rpartition(".")[0] if name == "Python" else version.partition("+")[0]


def _crowd(workers: dict[str, int]) -> int:
    """How many points are measured at once on the fullest machine: one in each worker."""
    from distributed.comm.addressing import get_address_host

    return max(Counter(map(get_address_host, workers)).values(), default=1)
