"""Run the points of a sweep one after the other, on the cores of this machine, or on a Dask cluster."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from secateur.core.errors import MissingExtraError, RunError, first_line
from secateur.experiment import cluster
from secateur.experiment.config import RunOptions
from secateur.experiment.measuring import Job, Result, measure
from secateur.experiment.point import Point
from secateur.experiment.trial import Bundle

FAILURES = 3
"""So many processes may die while a point is at work beside others, as Dask has it; the next time it is tried alone."""


def run(jobs: Sequence[Job], options: RunOptions) -> Iterator[Result]:
    """Measure every job; gives ``(index, figures)`` in the order in which they finish.

    Figures are ``lost``, the reason, where a point cost several workers.

    Raises:
        SecateurError: worker processes die before they measure; no scheduler is at the address, or what
            :func:`secateur.experiment.cluster.run` tells of.
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


def _run_job(index: int, bundle: Bundle, point: Point, workers: int, at_work: Path) -> Result:
    """In a worker: one point, with a file that stands while it is measured."""
    mark = at_work / str(index)
    mark.touch()
    try:
        return index, measure((bundle, point), workers)
    finally:
        mark.unlink()


def _loky(jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    """Measure in processes of this machine, some of which may be killed, as where memory is short.

    One that dies takes the others with it. What they had not measured is measured again; a point that was at work when
    several died waits for all others, and is then tried alone.
    """
    left, deaths, idle = dict(enumerate(jobs)), Counter[int](), 0
    with tempfile.TemporaryDirectory(prefix="secateur-") as scratch, _safe_path():
        while left:
            beside = [index for index in left if deaths[index] <= FAILURES]
            now = beside or [next(iter(left))]
            try:
                for index, figures in _pool({i: left[i] for i in now}, workers, Path(scratch)):
                    del left[index]
                    yield index, figures
            except BrokenProcessPool as error:
                marks = list(Path(scratch).iterdir())
                deaths.update(int(mark.name) for mark in marks)
                for mark in marks:
                    mark.unlink()
                idle = 0 if marks else idle + 1
                if idle > FAILURES:
                    raise RunError(f"{idle} times worker processes died before they began to measure "
                                   f"({first_line(error)}); every finished row is kept") from error
                if not beside and now[0] in map(int, (mark.name for mark in marks)):
                    del left[now[0]]
                    yield now[0], {"lost": f"{deaths[now[0]]} workers died while it ran"}


def _pool(jobs: Mapping[int, Job], workers: int, at_work: Path) -> Iterable[Result]:
    """The results of some jobs in the order in which they finish; an error where a process dies."""
    joblib = _joblib(workers)
    pool = joblib.Parallel(n_jobs=workers, backend="loky", return_as="generator_unordered", batch_size=1,
                           pre_dispatch="2*n_jobs")
    found: Iterable[Result] = pool(joblib.delayed(_run_job)(i, *job, workers, at_work) for i, job in jobs.items())
    return found


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
