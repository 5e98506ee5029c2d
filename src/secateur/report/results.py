"""What the report draws from: a run's points gathered over the seeds, one cell for every method and sparsity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from secateur.experiment.run import RunData
from secateur.measure.speed import Speed
from secateur.report.statistics import Interval, Spread

Point = dict[str, Any]


@dataclass(frozen=True)
class Method:
    """One way to cut: granularity, criterion, scope, recovery; ``tone`` counts the methods of a granularity."""

    granularity: str
    criterion: str
    scope: str
    control: bool
    name: str = ""
    tone: int = 0
    recovery: str = "none"

    @property
    def words(self) -> str:
        """The settings in words."""
        return f"{self.criterion}, scope {self.scope}" + (f", {self.recovery} recovery" if self.recovered else "")

    @property
    def recovered(self) -> bool:
        """Whether anything was done after the cut to win accuracy back."""
        return self.recovery != "none"




@dataclass(frozen=True)
class Cell:
    """One method at one sparsity, over the seeds. ``cost`` is the accuracy lost, as a fraction, ``stored`` the bytes
    of its file."""

    sparsity: float
    reached: float
    seeds: tuple[int, ...]
    accuracy: Spread
    loss: Spread
    cost: Interval
    items: float
    removed: float
    parameters: float
    nonzeros: float
    bytes: float
    bytes_sparse: float
    stored: float
    flops: float
    flops_nonzero: float
    speed: dict[str, dict[str, Speed]]
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Curve:
    """One method with its cells by rising sparsity."""

    method: Method
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Dense:
    """The uncut network over the seeds; ``seconds`` is its latency by batch."""

    accuracy: Spread
    loss: Spread
    parameters: float
    bytes: float
    seconds: dict[str, float]


@dataclass(frozen=True)
class Digest:
    """All that the report draws from."""

    run: RunData
    dense: Dense
    curves: tuple[Curve, ...]
    batches: tuple[str, ...]
    tolerance: float

    def methods(self, granularity: str | None = None, controls: bool = False) -> list[Curve]:
        """The curves of a granularity (None: all), those of controls only on demand."""
        return [c for c in self.curves if granularity in (None, c.method.granularity)
                and (controls or not c.method.control)]

    def plain(self, granularity: str | None = None) -> list[Curve]:
        """The methods without recovery, no controls; of a granularity that has none of those, all."""
        found = self.methods(granularity)
        bare = {c.method.granularity for c in found if not c.method.recovered}
        return [c for c in found if not c.method.recovered or c.method.granularity not in bare]

    def recovered(self, granularity: str | None = None) -> list[Curve]:
        """The methods with a recovery that stand beside others without."""
        bare = self.plain(granularity)
        return [c for c in self.methods(granularity) if c not in bare]

    @property
    def granularities(self) -> list[str]:
        """The granularities of the run, in order."""
        return list(dict.fromkeys(c.method.granularity for c in self.curves))
