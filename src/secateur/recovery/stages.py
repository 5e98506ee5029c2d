"""What each step of a recovery gained, and how long it took."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

from torch import nn

from secateur.core import text
from secateur.core.errors import SecateurError
from secateur.measure.agreement import agreement
from secateur.recovery.original import Original

_NAMES = {"cut": "after the cut", "refit": "after the refit", "distilled": "after distillation"}


@dataclass(frozen=True)
class Stage:
    """A network after one step of a recovery, beside the original on the samples held out.

    Attributes:
        name: ``cut``, ``refit`` or ``distilled``.
        error: the relative error of its outputs; None where they cannot be compared.
        same: the fraction of rows with the same class; None where there are no classes.
        samples: how many samples were held out.
        seconds: what the step took.
        how: what it did, as a clause; empty where there is nothing to say.
    """

    name: str
    error: float | None
    same: float | None
    samples: int
    seconds: float = 0.0
    how: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def stage(name: str, network: nn.Module, held: Original, seconds: float = 0.0, how: str = "") -> Stage:
    """Measure a network after a step, on the samples held out."""
    try:
        near = agreement(held.network, network, held.samples)
    except SecateurError:
        return Stage(name, None, None, sum(map(len, held.samples)), seconds, how)
    return Stage(name, near.error if math.isfinite(near.error) else None, near.same, near.samples, seconds, how)


def describe(stages: Iterable[Stage]) -> str:
    """One sentence about all steps; empty where there are none.

    >>> describe([Stage("cut", 0.5, 0.9, 100), Stage("refit", 0.25, 0.99, 100, 1.5)])
    'relative error of the outputs on 100 held-out samples: 0.500 after the cut, 0.250 after the refit (1.5 s)'
    """
    parts = [_in_words(one) for one in stages]
    samples = text.count(next((one.samples for one in stages), 0))
    return f"relative error of the outputs on {samples} held-out samples: {', '.join(parts)}" if parts else ""


def _in_words(one: Stage) -> str:
    error = "not comparable" if one.error is None else f"{one.error:.3f}"
    took = ", ".join(filter(None, [f"{one.seconds:.1f} s" if one.seconds else "", one.how]))
    return f"{error} {_NAMES.get(one.name, one.name)}" + (f" ({took})" if took else "")


def table(stages: Iterable[Stage], width: int = 0) -> str:
    """A line for each step; empty where there are none."""
    lines = [(_NAMES.get(one.name, one.name), "–" if one.error is None else f"{one.error:.4f}",
              "–" if one.same is None else text.percent(one.same, 2), f"{one.seconds:.1f} s" if one.seconds else "")
             for one in stages]
    samples = next((text.count(one.samples) for one in stages), "")
    return text.table((f"on {samples} held-out samples", "error", "same class", "took"), lines, width) if lines else ""


def mean_stages(several: Iterable[Iterable[Mapping[str, Any]]]) -> list[Stage]:
    """The means over several stored rows, of each step by its name.

    >>> one, two = (Stage("cut", error, None, 10).plain() for error in (0.25, 0.75))
    >>> mean_stages([[one], [two]])
    [Stage(name='cut', error=0.5, same=None, samples=10, seconds=0.0, how='')]
    """
    by_name: dict[str, list[Stage]] = {}
    for one in (one for records in several for one in _read_stages(records)):
        by_name.setdefault(one.name, []).append(one)
    return [replace(group[0], error=_mean([one.error for one in group]), same=_mean([one.same for one in group]),
                    seconds=fmean(one.seconds for one in group)) for group in by_name.values()]


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _read_stages(records: Iterable[Mapping[str, Any]]) -> list[Stage]:
    """Stages of a stored row."""
    return [Stage(record["name"], record.get("error"), record.get("same"), record["samples"], record["seconds"],
                  record.get("how") or "") for record in records]
