"""How a segment runs a count of rows, as it is kept on disk and checked when it is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

from secateur.runtime.codegen.isa import Isa
from secateur.runtime.ops import Segment
from secateur.runtime.schedule.build import widths
from secateur.runtime.schedule.choose import Chunks, divide, options_for
from secateur.runtime.schedule.clock import Conditions, Measured, is_count, is_seconds

_NEAR, _NEAR_FROM = 1.25, 16
"""Above 16 rows, a count of rows takes over the choice made for another that differs by at most a quarter."""
_FIELDS = itemgetter("chunks", "seconds", "dense_seconds", "dense", "costs", "tiles", "conditions")


@dataclass(frozen=True)
class TileSchedule(Measured):
    """How a count of rows runs: in tiles, given as ``(width, rows)`` in order, or in torch where ``chunks`` is empty.

    ``dense`` are the indices of the operators that run dense in torch, between the programs. ``seconds`` is the
    measured time of the segment so, ``dense_seconds`` in torch. ``costs`` are the measured or predicted seconds of
    each operator, by the number of its output: on its kernel, and in torch (0: not known). ``tiles`` are the
    measured seconds of one tile of each width.
    """

    chunks: Chunks
    seconds: float | None = None
    dense_seconds: float | None = None
    dense: tuple[int, ...] = ()
    costs: dict[int, tuple[float, float]] = field(default_factory=dict)
    tiles: dict[int, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A measured schedule as it is kept on disk."""
        return {"chunks": self.chunks, "seconds": self.seconds, "dense_seconds": self.dense_seconds,
                "dense": self.dense, "costs": [[k, *v] for k, v in self.costs.items()],
                "tiles": list(self.tiles.items()), "conditions": self.conditions.to_json()}

    @staticmethod
    def from_json(kept: Any, segment: Segment, isa: Isa, rows: int) -> TileSchedule | None:
        """What :meth:`to_json` wrote for ``rows`` rows of a segment; None for anything that cannot be one.

        A schedule with more rows than there are would write behind the outputs.
        """
        try:
            chunks, seconds, dense_seconds, dense, costs, tiles, conditions = _FIELDS(kept)
            _check_chunks(chunks, options_for(rows, widths(isa, segment)), rows)
            _check_dense(dense, segment, chunks)
            _check_costs(costs, {op.output.id for op in segment.ops})
            _check_costs(tiles, options_for(rows, widths(isa, segment)))
            if not is_seconds(seconds) or not is_seconds(dense_seconds):
                return None
            return TileSchedule(tuple((w, r) for w, r in chunks), seconds, dense_seconds, tuple(dense),
                                {k: (a, b) for k, a, b in costs}, dict(tiles),
                                conditions=Conditions.from_json(conditions))
        except (KeyError, TypeError, ValueError):
            return None

    def scale_to(self, rows: int, other: int, workers: int) -> TileSchedule | None:
        """The same choice for another count of rows than ``rows``; None where the two counts are too far apart."""
        few, many = sorted((rows, other))
        if not self.tiles or few <= _NEAR_FROM or many > few * _NEAR:
            return None
        chunks = divide(other, self.tiles, workers)[1] if self.chunks else ()
        return replace(self, chunks=chunks, seconds=None, dense_seconds=None)


def _check_chunks(chunks: list[Any], allowed: Iterable[int], rows: int) -> None:
    """Refuse tiles of other widths than programs are made for, and tiles that do not cover the rows exactly."""
    if not all(is_count(width) and width in allowed and is_count(count) for width, count in chunks):
        raise ValueError("a width or a count of rows that cannot be")
    if chunks and sum(count for _, count in chunks) != rows:
        raise ValueError("tiles that do not cover the rows")


def _check_dense(dense: list[Any], segment: Segment, chunks: list[Any]) -> None:
    """Refuse layers for torch that are none, or that lie between no programs."""
    layers = [k for k, op in enumerate(segment.ops) if op.weight is not None]
    if not all(type(k) is int and k in layers for k in dense) or len(set(dense)) != len(dense):
        raise ValueError("an operator that torch does not run by itself")
    if dense and not chunks:
        raise ValueError("layers in torch between no programs")


def _check_costs(costs: list[Any], allowed: Iterable[int]) -> None:
    """Refuse costs of what is not there, and costs that are no times."""
    if not all(type(key) is int and key in allowed and all(map(is_seconds, times)) for key, *times in costs):
        raise ValueError("costs of something else")
