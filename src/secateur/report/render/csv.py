"""The run's points as flat rows, in CSV and Parquet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from secateur.core import paths
from secateur.core.optional import need
from secateur.experiment.run import RunData

LEFT_OUT = ("correct", "predictions", "latency")


def flat(point: dict[str, Any]) -> dict[str, Any]:
    """One point without nesting: latency as ``latency_<batch>_<variant>_<field>`` columns, lists as JSON.

    >>> flat({"sparsity": 0.5, "latency": {"1": {"original": {"median": 2e-5}}}, "notes": []})
    {'sparsity': 0.5, 'notes': '[]', 'latency_1_original_median': 2e-05}
    """
    row = {k: json.dumps(v) if isinstance(v, (list, tuple, dict)) else v for k, v in point.items() if k not in LEFT_OUT}
    for batch, variants in (point.get("latency") or {}).items():
        for variant, figures in variants.items():
            row |= {f"latency_{batch}_{variant}_{name}": v for name, v in figures.items()}
    return row


def rows(run: RunData) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns in the order in which they first appear, and the rows."""
    found = [flat(p) for p in run.points]
    return list(dict.fromkeys(k for row in found for k in row)), found


def write_csv(run: RunData, path: Path) -> Path:
    """Write the rows as CSV; what a row lacks stays empty."""
    columns, found = rows(run)
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return paths.write(path, buffer.getvalue())


def write_parquet(run: RunData, path: Path) -> Path:
    """Write the rows as Parquet; what a row lacks is null."""
    arrow, parquet = need("pyarrow"), need("pyarrow.parquet")
    columns, found = rows(run)
    buffer = io.BytesIO()
    parquet.write_table(arrow.table({c: [row.get(c) for row in found] for c in columns}), buffer)
    return paths.write(path, buffer.getvalue())
