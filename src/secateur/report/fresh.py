"""Tells whether a report is that of a run already, so that nothing is drawn twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from secateur.run_data import RunData

DRAWN_WITH = ("secateur", "matplotlib", "plotly")
HEAD = 4096


def mark(run: RunData) -> str:
    """A digest of all that the report depends on: the run, this package's files, the versions of what draws."""
    found = hashlib.sha256()
    for source in sorted(Path(__file__).parent.iterdir()):
        found.update(source.read_bytes() if source.is_file() else b"")
    values = [run.config, run.machine, run.command, run.trained, run.points, run.anatomy, run.samples]
    found.update(json.dumps([*values, *map(installed, DRAWN_WITH)], sort_keys=True, default=plain).encode())
    return found.hexdigest()[:32]


def plain(value: Any) -> Any:
    """Bytes, arrays and tuples as JSON holds them."""
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)


def installed(package: str) -> str:
    """The version of a package, empty where it is not installed as one."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def holds(page: Path, expected: str, others: Iterable[Path]) -> bool:
    """Whether the page carries the mark and every other file is there."""
    if not page.is_file() or not all(p.is_file() for p in others):
        return False
    with page.open("rb") as file:
        return f'content="{expected}"'.encode() in file.read(HEAD)
