"""A finished run as plain data: what the store gives and the report reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.core.errors import RunError, SecateurError
from secateur.core.text import clean, clean_values
from secateur.experiment.row import Row, read_row
from secateur.experiment.store import FILE, Store
from secateur.experiment.stored import (
    LABELS,
    RUN,
    SAMPLES,
    SCAN,
    SETTINGS,
    STATISTICS,
    TRAINED,
    check,
    check_once,
    check_point,
)


@dataclass(frozen=True)
class RunData:
    """One run of a study.

    Attributes:
        folder: where the run lives.
        config: every setting of the study by name, defaults too.
        machine: cpu, cores, threads, os and the versions of python, torch, numpy and secateur.
        command: the command that reproduces the run.
        trained: one record a seed: ``seed``, ``history`` (records of epoch, loss, accuracy, seconds),
            ``loss`` and ``accuracy`` on the test samples, ``parameters``.
        points: one row a (seed, granularity, criterion, scope, recovery, sparsity), see
            :class:`secateur.experiment.row.Row`.
        weight_statistics: one value of :func:`secateur.experiment.weight_statistics.weight_statistics` a seed.
        samples: ``images`` (uint8, ``[n, h, w]`` or ``[n, h, w, 3]``) and ``labels``, or None where the
            data are not images.
        labels: the class of each test sample; None in runs of versions that did not keep them.
        scans: one record a (seed, granularity, criterion) of which each layer was cut by itself: those three, and
            what :meth:`secateur.pruning.scan.Scan.plain` gives.
        refused: granularity → why the best cut that needs no labels could not be made.
        not_quantized: bits → why the uncut network could not be quantised.
        unread: what could not be read, in words; empty for a run that is whole.
        unfinished: what is still to be made, in words; empty for a run that is complete.
    """

    folder: Path
    config: dict[str, Any]
    machine: dict[str, Any]
    command: str
    trained: list[dict[str, Any]]
    points: list[Row]
    weight_statistics: list[dict[str, Any]] = field(default_factory=list)
    samples: dict[str, Any] | None = None
    labels: NDArray[np.uint32] | None = None
    scans: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    not_quantized: dict[int, str] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    unfinished: str = ""

    @property
    def draft(self) -> bool:
        """Whether it is a first look, of few epochs, seeds and sparsities."""
        return bool(self.config.get("draft"))


def load_run(folder: str | Path) -> RunData:
    """Load the rows of a run's last settings, as the report reads them. Damaged rows are left out; ``unread`` says so.

    Raises:
        RunError: the folder holds no run, one of another version, or one without a measured point; or what names its
            rows is damaged.
    """
    with Store(Path(folder)) as store:
        run = store.meta("run")
        if run is None:
            raise RunError(f"'{folder}' holds a run that has not started; run secateur study again")
        with _named(Path(folder)):
            run = check(run, RUN, "what its run is made of")
            check_once(run)
        return _Reader(store, run).read(Path(folder))


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Errors in the block name the file that is damaged."""
    try:
        yield
    except RunError as error:
        raise RunError(f"'{folder / FILE}' is damaged: {error}; run secateur study again into another folder (--out)"
                       ) from error


class _Reader:
    """Reads the rows of a run one by one."""

    def __init__(self, store: Store, run: dict[str, Any]):
        self.store, self.run, self.damaged = store, run, set[str]()

    def read(self, folder: Path) -> RunData:
        """The run.

        Raises:
            RunError: it has no measured point.
        """
        run, points, refused, not_quantized = self.run, list[Row](), dict[str, str](), dict[int, str]()
        for key, timing in zip(run["points"], run["latency"], strict=False):
            found = self._one(key, partial(self._point, key, timing))
            if isinstance(found, Row):
                points.append(found)
            elif found is not None:
                granularity, recovery, bits, why = found
                if recovery == "none":
                    not_quantized[bits] = why
                else:
                    refused[granularity] = why
        if not points:
            lost = f" ({len(self.damaged)} rows are damaged)" if self.damaged else ""
            raise RunError(f"'{folder}' holds no measured point yet{lost}; to continue, run: {run['command']}")
        trained = [{"seed": seed, **row} for seed, key in enumerate(run["trained"]) if (row := self._get(key, TRAINED))]
        # A run of an earlier version has no scans.
        scans = [found for key in run.get("scans") or [] if (found := self._one(key, partial(self._scan, key)))]
        statistics = [row for key in run["anatomy"] if (row := self._get(key, STATISTICS))]
        samples = self._one(run["samples"], self._samples)
        labels = self._one(key, partial(self._labels, key)) if (key := run.get("labels")) else None
        known = {record["seed"] for record in trained}
        unread = (f"{len(self.damaged)} rows of '{folder / FILE}' are damaged and left out; to measure them again, "
                  "run secateur study into another folder (--out)",) if self.damaged else ()
        return RunData(folder, clean_values(run["config"]), self._machine(), clean(run["command"]), trained,
                       [row for row in points if row.seed in known] if self.damaged else points, statistics, samples,
                       labels, scans, refused, not_quantized, unread, self._unfinished(len(trained)))

    def _unfinished(self, trained: int) -> str:
        """What is still to be made, in words."""
        run, timed = self.run, self.run["config"].get("latency_batches") or []
        seeds = self.run["config"].get("timed_seeds", len(run["trained"]))
        counts = [("networks trained", trained, len(run["trained"])),
                  ("points measured", *self._count(run["points"])),
                  *[("timed", *self._count(self._timings(seeds)))] * bool(timed)]
        parts = [f"{there} of {wanted} {what}" for what, there, wanted in counts if there < wanted]
        return f"Unfinished: {', '.join(parts)}." if parts else ""

    def _timings(self, seeds: int) -> list[str]:
        """The keys of the timings that are to be made: those of the networks that are timed, but for what was refused.

        Runs of versions that did not name them time every point of the first seeds.
        """
        each = -(-len(self.run["points"]) // max(1, len(self.run["trained"])))
        pairs = list(zip(self.run["points"], self.run["latency"], strict=False))
        timed = set(self.run["latency"][:each * seeds] if self.run.get("timed") is None else self.run["timed"])
        return [timing for point, timing in pairs if timing in timed
                and "refused" not in (self._one(point, partial(self.store.get, point)) or {})]

    def _count(self, keys: list[str]) -> tuple[int, int]:
        """How many rows there are of those that are to be made."""
        return sum(self.store.has(key) for key in keys), len(keys)

    def _one(self, key: str, read: Callable[[], Any]) -> Any:
        """What a reader gives of a row; None, with the row counted, where it is damaged."""
        try:
            return clean_values(read())
        except (RunError, ValueError, IndexError) as error:
            if not isinstance(error, RunError) and isinstance(error, SecateurError):
                raise
            self.damaged.add(key)
            return None

    def _get(self, key: str, form: Any) -> dict[str, Any] | None:
        """The figures of a row; None where it is not there, or damaged."""
        def read() -> Any:
            found = self.store.get(key)
            return None if found is None else check(found, form, "the row")

        found: dict[str, Any] | None = self._one(key, read)
        return found

    def _point(self, key: str, timing: str) -> Row | tuple[str, str, int, str] | None:
        """A measured point, or the granularity, recovery and bits of one that was refused, and why; None where it is
        not there yet."""
        figures = self.store.get(key)
        if figures is None:
            return None
        settings = clean_values(check(self.store.settings(key), SETTINGS, "the settings"))
        if "refused" in figures:
            return (settings["granularity"], settings.get("recovery") or "none", settings.get("bits") or 32,
                    clean(figures["refused"]))
        times = self.store.get(timing)
        check_point(figures, times)
        return read_row(settings, clean_values(figures), clean_values(times))

    def _scan(self, key: str) -> dict[str, Any] | None:
        """A scan with what it was made by; None where it is not there yet."""
        figures = self.store.get(key)
        if figures is None:
            return None
        settings = self.store.settings(key)
        return {**{k: check(settings.get(k), SETTINGS[k], k) for k in ("seed", "granularity", "criterion")},
                **check(figures, SCAN, "the scan")}

    def _samples(self) -> dict[str, Any] | None:
        """The sample images; None where the data are none."""
        row = self.store.get(self.run["samples"])
        if row is None or ("shape" in row and row["shape"] is None):
            return None
        check(row, SAMPLES, "the samples")
        images = np.frombuffer(row["pixels"], np.uint8).reshape(row["shape"])
        return {"images": images[..., 0] if images.shape[-1] == 1 else images, "labels": row["labels"]}

    def _labels(self, key: str) -> NDArray[np.uint32] | None:
        """The classes of the test samples; None where they are not there yet."""
        row = self.store.get(key)
        return None if row is None else np.frombuffer(check(row, LABELS, "the labels")["labels"], "<u4")

    def _machine(self) -> dict[str, Any]:
        """The machine that the first row was measured on; nothing where that is damaged."""
        found: dict[str, Any] = self._one("machine", lambda: self.store.machine(self.run["points"])) or {}
        return found
