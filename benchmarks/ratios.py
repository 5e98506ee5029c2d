"""Ratios of one case of ``benchmarks/runtime.py``: medians over rounds, from the seconds in the file."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]
OURS = ("secateur", "secateur avx2")
DENSE = ("torch eager", "torch oneDNN", "torch.compile", "onnxruntime", "openvino", "tensorflow", "litert")
"""Open engines that run the network as if it had no zeros, in float32."""
INT8, BF16 = ("onnxruntime int8", "openvino int8"), ("openvino bf16", "torch bf16")
"""The same in less precision."""


def median(row: Row, engine: str) -> float:
    """The median seconds of an engine.

    >>> median({"engines": {"a": {"seconds": [3.0, 1.0, 2.0]}}}, "a")
    2.0
    """
    return statistics.median(row["engines"][engine]["seconds"])


def best(row: Row, engines: Iterable[str]) -> str | None:
    """The fastest of some engines, of those that were timed; None where none was."""
    return min((e for e in engines if e in row["engines"]), key=lambda e: median(row, e), default=None)


def faster(row: Row, engine: str, than: str | None) -> float | None:
    """How many times faster an engine is than another: the median of the ratios within rounds; None if not timed.

    >>> faster({"engines": {"a": {"seconds": [1.0, 2.0]}, "b": {"seconds": [3.0, 6.0]}}}, "a", "b")
    3.0
    """
    if than is None or engine not in row["engines"] or than not in row["engines"]:
        return None
    ours, theirs = (row["engines"][e]["seconds"] for e in (engine, than))
    return statistics.median(b / a for a, b in zip(ours, theirs, strict=False))


def others(row: Row) -> list[str]:
    """Every engine in float32 that was timed, but ours."""
    return [e for e in row["engines"] if e not in (*OURS, *INT8, *BF16)]


def summary(row: Row) -> str:
    """One case in a line: ours over the best dense engine, every engine over torch eager, what went wrong."""
    top = best(row, DENSE)
    over = faster(row, "secateur", top)
    eager = {e: f"{faster(row, e, 'torch eager'):.2f}" for e in row["engines"]}
    return f"{f'{over:.2f} x {top}' if over else ''} | over eager: {eager} | {row['problems'] or ''}"
