"""Sample images with the predictions before and after a cut."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from secateur.core.optional import need
from secateur.report.conclusions import Answer, all_answers
from secateur.report.results import Results


def samples(results: Results) -> dict[str, Any] | None:
    """Images, labels and the first seed's predictions of them; None where there is nothing to show.

    A method's predictions have an entry for each place of the page's slider.
    """
    pictures, seed = results.run.samples, results.run.trained[0]["seed"]
    by_method = {a.method: by for a in all_answers(results) if (by := _predictions(a, seed))}
    if not pictures or not len(pictures["labels"]) or not by_method:
        return None
    before = next((by[0.0] for by in by_method.values() if 0.0 in by), None)
    return {"images": [_data_uri(np.asarray(i)) for i in pictures["images"]],
            "labels": [int(v) for v in pictures["labels"]],
            "seed": seed, "before": before,
            "methods": [{"name": m.name, "role": m.granularity, "predictions": [by.get(s) for s in results.keeps]}
                        for m, by in by_method.items()]}


def _data_uri(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """An image, ``(h, w)`` grey or ``(h, w, 3)`` colour, as a data URI."""
    buffer = io.BytesIO()
    need("PIL.Image").fromarray(pixels).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _predictions(a: Answer, seed: int) -> dict[float, list[int]]:
    """Sparsity → the classes that one seed's network gives to the samples."""
    return {cell.sparsity: row.predictions for cell in a.cells for row in cell.rows
            if row.seed == seed and row.predictions}
