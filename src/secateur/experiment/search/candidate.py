"""What is tried: how much goes, of what, in how many bits; and what was measured of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from secateur.core import text
from secateur.experiment.search.limit import Loss
from secateur.measure.speed import Speed


@dataclass(frozen=True)
class Candidate:
    """One way to make a network cheaper.

    Attributes:
        granularity: the name of what is cut; empty where nothing is.
        sparsity: the fraction that is removed.
        bits: in how many bits the network computes.

    >>> str(Candidate()), str(Candidate(bits=8)), str(Candidate("weight", 0.9, 8)), str(Candidate("1x4", 0.5))
    ('left as it is', 'quantised alone, int8', 'weight 90%, int8', '1x4 50%')
    """

    granularity: str = ""
    sparsity: float = 0.0
    bits: int = 32

    def __str__(self) -> str:
        bits = "" if self.bits == 32 else text.bits_name(self.bits)
        if self.granularity:
            return ", ".join(filter(None, [f"{self.granularity} {text.percent(self.sparsity)}", bits]))
        return f"quantised alone, {bits}" if bits else "left as it is"


LEAVE = Candidate()
"""Nothing is done."""


@dataclass(frozen=True)
class Tried:
    """A candidate with what was measured of it.

    Attributes:
        candidate: what was tried.
        loss: its loss on the samples held out; None where it could not be made.
        is_within: whether that is within the limit.
        bytes: of its file.
        speed: its latency beside that of the network left as it is, each in its fastest engine; None: not timed.
        engine: what ran it fastest.
        note: why it could not be made, or not be timed.
    """

    candidate: Candidate
    loss: Loss | None = None
    is_within: bool = False
    bytes: int = 0
    speed: Speed | None = None
    engine: str = ""
    note: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON values; seconds are those of a call."""
        return {**asdict(self.candidate), "within": self.is_within, "bytes": self.bytes,
                "loss": None if self.loss is None else asdict(self.loss),
                "speed": None if self.speed is None else asdict(self.speed), "engine": self.engine, "note": self.note}


def table(tried: Sequence[Tried], taken: Candidate, what: str, width: int = 0) -> str:
    """A line for each that was measured, at most ``width`` columns wide; ``what`` heads the column of losses."""
    timed = any(one.speed for one in tried)
    kinds = list(dict.fromkeys(one.candidate.granularity for one in tried))
    rows = sorted((one for one in tried if one.loss), key=lambda one: (
        kinds.index(one.candidate.granularity), one.candidate.sparsity, -one.candidate.bits))
    head = ("tried", what, "95% interval", "within", "bytes, saved", *(("ms", "speed", "engine") if timed else ()))
    return text.table(head, [(*_cells(one, taken), *(_timing(one) if timed else ())) for one in rows], width)


def _cells(one: Tried, taken: Candidate) -> Iterator[str]:
    loss = one.loss
    assert loss is not None
    yield str(one.candidate)
    yield loss.shown(loss.value)
    yield "–" if one.candidate == LEAVE else f"{loss.shown(loss.low)} to {loss.shown(loss.high)}"
    yield "taken" if one.candidate == taken else "yes" if one.is_within else "no"
    yield text.with_prefix(one.bytes, "B")


def _timing(one: Tried) -> tuple[str, str, str]:
    if one.speed is None:
        return "–", "–", "–"
    return f"{one.speed.seconds * 1e3:.3g}", one.speed.shown, one.engine
