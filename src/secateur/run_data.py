"""A finished run as plain data: what the store gives and the report reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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
        points: one record a (seed, granularity, criterion, scope, recovery, sparsity): those six, and
            ``control``, ``reached`` (the sparsity that the cut gave), ``items``, ``removed``, ``loss``,
            ``accuracy``, ``correct`` (bytes: ``numpy.packbits`` of the correctness of each test sample),
            ``tests`` (their number), ``parameters``, ``nonzeros``, ``bytes`` (dense float32),
            ``bytes_sparse`` (smallest of dense, bit mask and CSR a tensor), ``bytes_file`` (of the file that
            :func:`secateur.save` writes; rows of earlier versions lack it), ``flops`` and
            ``flops_nonzero`` (of one example), ``layers`` (records of name, items, removed, sparsity),
            ``notes``, ``samples_seen`` (training samples shown to criterion and recovery, where any were),
            ``predictions`` (classes given to the sample images), ``latency`` (None, or batch
            as text → variant → median, low, high in seconds, and speedup, speedup_low, speedup_high
            over ``original``), ``sparse_error`` (greatest relative difference of sparse and dense outputs).
        anatomy: one value of :func:`secateur.anatomy.anatomy` a seed.
        samples: ``images`` (uint8, ``[n, h, w]`` or ``[n, h, w, 3]``) and ``labels``, or None where the
            data are not images.
        scans: one record a (seed, granularity, criterion) of which each layer was cut by itself: those three, and
            what :meth:`secateur.scan.Scan.plain` gives.
        refused: granularity → why the best cut that needs no labels could not be made.
    """

    folder: Path
    config: dict[str, Any]
    machine: dict[str, Any]
    command: str
    trained: list[dict[str, Any]]
    points: list[dict[str, Any]]
    anatomy: list[dict[str, Any]] = field(default_factory=list)
    samples: dict[str, Any] | None = None
    scans: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
