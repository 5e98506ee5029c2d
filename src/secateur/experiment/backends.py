"""Run the points of a sweep one after the other, on the cores of this machine, or on a Dask cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from secateur.core.errors import MissingExtraError
from secateur.experiment import cluster
from secateur.experiment.config import RunOptions
from secateur.experiment.measuring import Job, Result, measure
from secateur.experiment.point import Point
from secateur.experiment.trial import Bundle


def run(jobs: Sequence[Job], options: RunOptions) -> Iterator[Result]:
    """Measure every job; gives ``(index, figures)`` in the order in which they finish.

    Figures are ``lost``, the reason, where a point cost several workers of a cluster.

    Raises:
        SecateurError: no scheduler at the address, or what :func:`secateur.experiment.cluster.run` tells of.
        MissingExtraError: the backend's package is not installed.
    """
    if not jobs:
        return iter(())
    if options.backend == "dask":
        return cluster.run(jobs, options.address)
    return _loky(jobs, options.jobs) if options.jobs > 1 else _serial(jobs)


def check_installed(options: RunOptions) -> None:
    """Refuse a backend that cannot be used here, before anything is written."""
    if options.jobs > 1 and options.backend == "loky":
        _joblib(options.jobs)
    if options.address:
        cluster.connect(options.address).close()


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
