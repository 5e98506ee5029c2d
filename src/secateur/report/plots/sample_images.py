"""Sample images with the predictions before and after a cut."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.core import text
from secateur.report.conclusions import both
from secateur.report.results import Digest


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode an image, ``(h, w)`` grey or ``(h, w, 3)`` colour, as PNG.

    >>> png(np.zeros((2, 2), np.uint8))[:8]
    b'\\x89PNG\\r\\n\\x1a\\n'
    """
    pixels = np.ascontiguousarray(pixels, np.uint8)
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    body = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in body)


def uri(pixels: NDArray[np.uint8]) -> str:
    """The image as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()


def samples(digest: Digest) -> dict[str, Any] | None:
    """Images, labels and what the first seed's networks say of them; None where there is nothing to show.

    The sparsities are those of the shown methods, ``start`` the first of them at which many predictions change.
    """
    given = digest.run.samples
    seed = digest.run.trained[0]["seed"]
    said = {a.method: predictions(digest, a.method, seed) for a in both(digest)}
    said = {m: by for m, by in said.items() if by}
    if not given or not len(given["labels"]) or not said:
        return None
    grid = sorted({s for by in said.values() for s in by if s > 0})
    before = next((by[0.0] for by in said.values() if 0.0 in by), None)
    changed = [s for s in grid if any(differ(before, by.get(s)) for by in said.values())]
    return {"images": [uri(np.asarray(i)) for i in given["images"]], "labels": [int(v) for v in given["labels"]],
            "seed": seed, "before": before, "sparsities": [text.percent(s) for s in grid],
            "start": grid.index(changed[0]) if changed else max(0, len(grid) - 1),
            "methods": [{"name": m.name, "role": m.granularity, "predictions": [by.get(s) for s in grid]}
                        for m, by in said.items()]} if grid else None


def differ(before: list[int] | None, after: list[int] | None) -> bool:
    """Whether at least a fifth of the predictions changed."""
    if before is None or after is None:
        return False
    return 5 * sum(a != b for a, b in zip(before, after, strict=True)) >= len(before)


def predictions(digest: Digest, method: Any, seed: int) -> dict[float, list[int]]:
    """Sparsity → the classes that one seed's network gives to the samples."""
    curve = next(c for c in digest.curves if c.method == method)
    return {cell.sparsity: [int(v) for v in p["predictions"]] for cell in curve.cells for p in cell.points
            if p["seed"] == seed and p.get("predictions")}
