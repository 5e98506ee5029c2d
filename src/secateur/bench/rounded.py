"""Engines in less precision than float32: how near their outputs are to the network's, and what is near enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from secateur.core import text
from secateur.measure.agreement import Agreement

FULL = "float32"
MOST_ERROR, LEAST_SAME = 0.15, 0.95
"""The tolerance: the norm of the difference as a fraction of the outputs' norm, which is the bound that ``secateur
export`` has for int8; with labels also the fraction of rows that keep their class. Labels say that outputs are classes:
the largest feature of an embedding is none, and random inputs change their class at the least rounding."""


def tolerance() -> str:
    """The tolerance in words."""
    return (f"allowed: outputs within {text.percent(MOST_ERROR)} of their length, with labels also the same class in "
            f"{text.percent(LEAST_SAME)} of the rows")


def is_within(found: Agreement) -> bool:
    """Whether outputs are within the tolerance of those in float32; NaN is not.

    >>> is_within(Agreement(0.01, 1.0, 64, same=0.9)), is_within(Agreement(0.01, 1.0, 64, 0.9, accuracy=(0.9, 0.9)))
    (True, False)
    >>> is_within(Agreement(float("nan"), 0.0, 64))
    False
    """
    return found.error <= MOST_ERROR and (found.accuracy is None or found.same is None or found.same >= LEAST_SAME)


def as_plain(found: Agreement) -> dict[str, Any]:
    """An agreement as plain data; ``accuracy`` is that of the network in float32 and of the engine."""
    plain: dict[str, Any] = {"error": found.error, "cosine": found.cosine, "samples": found.samples}
    if found.same is not None:
        plain["same"] = found.same
    return plain | ({"accuracy": [*found.accuracy]} if found.accuracy else {})


def is_full(point: Mapping[str, Any]) -> bool:
    """Whether a point was computed in float32; other precisions are since version 2."""
    return bool(point.get("precision", FULL) == FULL)


def counts(point: Mapping[str, Any]) -> bool:
    """Whether a point may be named in a verdict: its outputs are within the tolerance."""
    return not point.get("ruined", False)


def describe(point: Mapping[str, Any], pair: tuple[str, str] = ("in float32", "here")) -> str:
    """How near a point's outputs are to the network's in float32, in words; ``pair`` names the two accuracies.

    >>> describe({"error": 0.2, "agreement": {"error": 0.013, "cosine": 0.9999, "samples": 64, "same": 0.984}})
    'relative error 0.013, cosine 0.9999, the same class in 98.4% of the rows (64 samples)'
    """
    found = point.get("agreement")
    if found is None:
        same = f", the same class in {text.percent(point['same'])} of the rows" if "same" in point else ""
        return f"largest difference {point['error']:.2g} of the largest output{same}"
    same = f", the same class in {text.percent(found['same'])} of the rows" if "same" in found else ""
    each = [f"{text.percent(a)} {name}" for a, name in zip(found.get("accuracy", ()), pair, strict=False)]
    right = f"accuracy {', '.join(each)}, " if each else ""
    return (f"{right}relative error {found['error']:.2g}, cosine {found['cosine']:.4f}{same} "
            f"({text.count(found['samples'])} samples)")
