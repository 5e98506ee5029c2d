"""The summary in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from secateur.report.render import templates
from secateur.report.render.content import content
from secateur.report.results import Results


def render(results: Results, figures: Sequence[Path]) -> str:
    """The whole summary; ``figures`` are the files that lie in ``figures/`` beside it."""
    return templates.render("summary.md.j2", **content(results), pictures={f.stem for f in figures})
