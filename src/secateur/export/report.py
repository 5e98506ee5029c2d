"""The report of a run again, as one file that opens offline."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from secateur import report
from secateur.export.base import RunExporter
from secateur.load import load_run
from secateur.timing import MeasurementError

OUTSIDE = re.compile(r"""<(?:script|img|link|iframe|source)[^>]*?(?:src|href)\s*=\s*["'](?!data:|#)([^"']+)""", re.I)


class ReportFile(RunExporter):
    """``report.html``, drawn anew from the run's rows."""

    suffix = ".html"
    packages = ("matplotlib", "plotly", "scipy")
    extra = "report"

    def write(self, folder: Path, path: Path) -> None:
        """Draw the page, see that it asks for nothing outside of it, and put it in its place."""
        drawn = path.with_name("drawn")
        report.write(load_run(folder), drawn)
        text = (drawn / "report.html").read_text(encoding="utf-8")
        shutil.move(drawn / "report.html", path)
        shutil.rmtree(drawn)
        if found := OUTSIDE.search(text):
            raise MeasurementError(f"the report asks for '{found[1]:.80}', which is outside of the file")
