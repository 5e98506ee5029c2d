"""Run the points of a sweep one after the other, on the cores of this machine, or on a Dask cluster."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from secateur.core.errors import MissingExtraError, RunError, SecateurError
from secateur.core.machine import cores
from secateur.experiment.config import RunOptions
from secateur.experiment.point import Point
from secateur.experiment.trial import Bundle, open_bundle
from secateur.measure.latency import torch_threads

Job = tuple[Bundle, Point]
Result = tuple[int, dict[str, Any]]


def measure(job: Job, workers: int) -> dict[str, Any]:
    """Measure one point; ``workers`` share this machine's cores, so each takes its part of them.

    What cannot be cut or recovered gives ``refused``, the reason.
    """
    bundle, point = job
    with torch_threads(max(1, cores() // workers) if workers > 1 else 0):
        try:
            return open_bundle(bundle).measure(point)
        except RunError:
            raise
        except SecateurError as error:
            return {"refused": str(error)}


def run(jobs: Sequence[Job], options: RunOptions) -> Iterator[Result]:
    """Measure every job; gives ``(index, figures)`` in the order in which they finish.

    Raises:
        SecateurError: no scheduler at the address.
        MissingExtraError: the backend's package is not installed.
    """
    if not jobs:
        return iter(())
    if options.backend == "dask":
        return _dask(jobs, options.address)
    return _loky(jobs, options.jobs) if options.jobs > 1 else _serial(jobs)


def check_installed(options: RunOptions) -> None:
    """Refuse a backend that cannot be used here, before anything is written."""
    if options.jobs > 1 and options.backend == "loky":
        _joblib(options.jobs)
    if options.address:
        _client(options.address).close()


def _serial(jobs: Sequence[Job]) -> Iterator[Result]:
    for index, job in enumerate(jobs):
        yield index, measure(job, 1)


def _run_job(index: int, bundle: Bundle, point: Point, workers: int) -> Result:
    return index, measure((bundle, point), workers)


def _loky(jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    joblib = _joblib(workers)
    pool = joblib.Parallel(n_jobs=workers, backend="loky", return_as="generator_unordered", batch_size=1,
                           pre_dispatch="2*n_jobs")
    with _safe_path():
        yield from pool(joblib.delayed(_run_job)(i, *job, workers) for i, job in enumerate(jobs))


@contextmanager
def _safe_path() -> Iterator[None]:
    """Python processes that are started in the block do not look for modules in the current folder before all others;
    loky gives them the path of this one afterwards. Python 3.10 does not know the variable."""
    name = "PYTHONSAFEPATH"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _joblib(workers: int) -> Any:
    """The package that runs several processes."""
    try:
        import joblib
    except ImportError as error:
        raise MissingExtraError("joblib", "parallel", f"jobs {workers}") from error
    return joblib


def _dask(jobs: Sequence[Job], address: str) -> Iterator[Result]:
    client = _client(address)
    from distributed import as_completed

    with client, client.as_current():
        crowd = _crowd(client.scheduler_info(n_workers=-1)["workers"], address)
        bundles = {b: client.scatter(b.with_contents(), broadcast=True, hash=False) for b in {b for b, _ in jobs}}
        futures = [client.submit(_run_job, i, bundles[b], p, crowd, pure=False) for i, (b, p) in enumerate(jobs)]
        for future in as_completed(futures):
            yield future.result()


def _client(address: str) -> Any:
    """A client of the scheduler at an address."""
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError("distributed", "cluster", "backend 'dask'") from error
    try:
        return Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise SecateurError(f"no Dask scheduler answers at '{address}': {error}") from error


def _crowd(workers: dict[str, Any], address: str) -> int:
    """How many tasks run at once on the fullest machine of a cluster."""
    if not workers:
        raise SecateurError(f"the Dask scheduler at '{address}' has no workers")
    slots: Counter[str] = Counter()
    for worker in workers.values():
        slots[worker["host"]] += worker["nthreads"]
    return max(slots.values())
