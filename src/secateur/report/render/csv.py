"""The run's points as flat rows, in CSV and Parquet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from secateur.core import paths
from secateur.core.optional import need
from secateur.experiment.row import Row
from secateur.experiment.run import RunData
from secateur.measure.noise import noise

_LEFT_OUT = ("correct", "predictions", "latency", "conditions")


def flatten(row: Row) -> dict[str, Any]:
    """One row without nesting: latency as ``latency_<batch>_<variant>_<field>`` columns, lists as JSON; why a timing
    is noisy in ``latency_<batch>_noisy``, empty where it is not."""
    flat = {k: json.dumps(v) if isinstance(v, (list, dict)) else v for k, v in dict(row).items() if k not in _LEFT_OUT}
    for batch, variants in (row.latency or {}).items():
        for variant, figures in variants.items():
            flat |= {f"latency_{batch}_{variant}_{name}": v for name, v in figures.items()}
        found = noise(row.timing, batch)
        flat |= {f"latency_{batch}_{name}": v for name, v in ((row.conditions or {}).get(batch) or {}).items()}
        flat[f"latency_{batch}_noisy"] = found.reason if found.is_noisy else ""
    return flat


def _columns(run: RunData) -> dict[str, list[Any]]:
    """The values by column, in the order in which the columns first appear; what a row lacks is None."""
    rows = [flatten(row) for row in run.points]
    return {name: [row.get(name) for row in rows] for name in dict.fromkeys(k for row in rows for k in row)}


def write_csv(run: RunData, path: Path) -> Path:
    """Write the rows as CSV; what a row lacks stays empty."""
    columns, buffer = _columns(run), io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([list(columns), *zip(*columns.values(), strict=True)])
    return paths.write(path, buffer.getvalue())


def write_parquet(run: RunData, path: Path) -> Path:
    """Write the rows as Parquet; what a row lacks is null."""
    arrow, parquet, buffer = need("pyarrow"), need("pyarrow.parquet"), io.BytesIO()
    parquet.write_table(arrow.table(_columns(run)), buffer)
    return paths.write(path, buffer.getvalue())
