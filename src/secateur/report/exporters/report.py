"""The report of a run again, as one file that opens offline."""

from __future__ import annotations

import re
from pathlib import Path

from secateur.core.errors import MeasurementError
from secateur.experiment.run import load_run
from secateur.files.exporters.base import RunExporter
from secateur.report import PACKAGES
from secateur.report.gather import gather_results
from secateur.report.render import page

_OUTSIDE = re.compile(r"""<(?:script|img|link|iframe|source)[^>]*?(?:src|href)\s*=\s*["'](?!data:|#)([^"']+)""", re.I)


class ReportFile(RunExporter):
    """``report.html``, drawn anew from the run's rows."""

    suffix = ".html"
    packages = PACKAGES
    extra = "report"

    def write(self, folder: Path, path: Path) -> None:
        """Draw the page, see that it asks for nothing outside of it, write it and read it back."""
        text = page.render(gather_results(load_run(folder)))
        if outside := _OUTSIDE.search(text):
            raise MeasurementError(f"the report refers to '{outside[1]:.80}', which is outside the file")
        path.write_bytes(text.encode())
        if path.read_bytes().decode() != text:
            raise MeasurementError("the report was not kept: read back, it differs from what was written")
