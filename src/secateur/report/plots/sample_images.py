"""Sample images with the predictions before and after a cut."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from secateur.core import text
from secateur.core.optional import need
from secateur.report.conclusions import Answer, all_answers
from secateur.report.results import Results


def samples(results: Results) -> dict[str, Any] | None:
    """Images, labels and the first seed's predictions of them; None where there is nothing to show.

    The sparsities are those of the shown methods, ``start`` the first of them at which many predictions change.
    """
    pictures, seed = results.run.samples, results.run.trained[0]["seed"]
    by_method = {a.method: by for a in all_answers(results) if (by := _predictions(a, seed))}
    grid = sorted({s for by in by_method.values() for s in by if s > 0})
    if not pictures or not len(pictures["labels"]) or not grid:
        return None
    before = next((by[0.0] for by in by_method.values() if 0.0 in by), None)
    changes = [i for i, s in enumerate(grid) if any(_differ(before, by.get(s)) for by in by_method.values())]
    return {"images": [_data_uri(np.asarray(i)) for i in pictures["images"]],
            "labels": [int(v) for v in pictures["labels"]],
            "seed": seed, "before": before, "sparsities": [text.percent(s) for s in grid],
            "start": changes[0] if changes else len(grid) - 1,
            "methods": [{"name": m.name, "role": m.granularity, "predictions": [by.get(s) for s in grid]}
                        for m, by in by_method.items()]}


def _data_uri(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """An image, ``(h, w)`` grey or ``(h, w, 3)`` colour, as a data URI."""
    buffer = io.BytesIO()
    need("PIL.Image").fromarray(pixels).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _differ(before: list[int] | None, after: list[int] | None) -> bool:
    """Whether at least a fifth of the predictions changed: fewer are easily missed on the page."""
    if before is None or after is None:
        return False
    return 5 * sum(a != b for a, b in zip(before, after, strict=True)) >= len(before)


def _predictions(a: Answer, seed: int) -> dict[float, list[int]]:
    """Sparsity → the classes that one seed's network gives to the samples."""
    return {cell.sparsity: row.predictions for cell in a.cells for row in cell.rows
            if row.seed == seed and row.predictions}
