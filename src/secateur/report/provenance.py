"""Which rows a report was made from, kept beside it, so that an unchanged run is not drawn again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from secateur.core import paths
from secateur.core.text import clean
from secateur.core.version import __version__
from secateur.experiment.run import RunData
from secateur.report.results import Results

_NAME = "report.json"


@dataclass(frozen=True)
class Report:
    """A written report: its first sentence, its files, and the results in it; None where it was there already."""

    headline: str
    files: list[Path]
    results: Results | None = field(default=None, repr=False, compare=False)


def current(run: RunData, folder: Path) -> Report | None:
    """The report in a folder, if all its files are there and were made from these rows."""
    try:
        facts = json.loads((folder / _NAME).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(facts, dict) or not isinstance(facts.get("headline"), str) or not isinstance(
            facts.get("files"), list) or not all(isinstance(name, str) for name in facts["files"]):
        return None
    files = [folder / name for name in facts["files"]]
    fresh = facts.get("rows") == _fingerprint(run) and all(f.exists() for f in files)
    return Report(clean(facts["headline"]), files) if fresh else None


def write(run: RunData, folder: Path, report: Report) -> None:
    """Keep from which rows a report was made."""
    names = [f.relative_to(folder).as_posix() for f in report.files]
    facts = {"rows": _fingerprint(run), "headline": report.headline, "files": names}
    paths.write(folder / _NAME, json.dumps(facts, indent=1) + "\n")


def _fingerprint(run: RunData) -> str:
    """The SHA-256 of everything that a report shows, and of the version that draws it."""
    content = {k: v for k, v in asdict(run).items() if k not in ("folder", "unread")}
    text = json.dumps([__version__, content], sort_keys=True,
                      default=lambda v: v.hex() if isinstance(v, bytes) else v.tolist())
    return hashlib.sha256(text.encode()).hexdigest()
