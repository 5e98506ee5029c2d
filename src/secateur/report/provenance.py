"""Which rows a report was made from, kept beside it, so that an unchanged run is not drawn again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from secateur.core import paths
from secateur.core.version import __version__
from secateur.experiment.run import RunData

NAME = "report.json"


@dataclass(frozen=True)
class Report:
    """A written report: its first sentence, and its files."""

    headline: str
    files: list[Path]


def fingerprint(run: RunData) -> str:
    """The SHA-256 of everything that a report shows, and of the version that draws it."""
    plain = {k: v for k, v in asdict(run).items() if k != "folder"}
    text = json.dumps([__version__, plain], sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value.tolist()


def current(run: RunData, folder: Path) -> Report | None:
    """The report in a folder, if all its files are there and were made from these rows."""
    try:
        stamp = json.loads((folder / NAME).read_text())
    except (OSError, ValueError):
        return None
    made = [folder / name for name in stamp["files"]]
    fresh = stamp["rows"] == fingerprint(run) and all(f.exists() for f in made)
    return Report(stamp["headline"], made) if fresh else None


def write(run: RunData, folder: Path, report: Report) -> None:
    """Say of which rows a report was made."""
    names = [f.relative_to(folder).as_posix() for f in report.files]
    stamp = {"rows": fingerprint(run), "headline": report.headline, "files": names}
    paths.write(folder / NAME, json.dumps(stamp, indent=1) + "\n")
