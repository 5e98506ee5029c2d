"""The contract of a stage: the rows of one kind that are made of one trained network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

from secateur.experiment.pace import Pace
from secateur.experiment.point import Point
from secateur.experiment.sweep import Sweep


class Stage(ABC):
    """The rows of one kind that are made of one trained network.

    Attributes:
        name: what :meth:`secateur.core.progress.Progress.stage` is told; empty where the stage takes no time to speak
            of, so that nothing is told.
        rows: what one of its rows is called, ``network``, ``scan``, ``point`` or ``timing``.
        is_shown: whether the report shows anything new after it.
    """

    name: ClassVar[str] = ""
    rows: ClassVar[str] = ""
    is_shown: ClassVar[bool] = False

    def __init__(self, sweep: Sweep, seed: int):
        self.sweep, self.grid, self.seed = sweep, sweep.grid, seed

    @abstractmethod
    def missing(self) -> list[Any]:
        """What the run does not hold and can be made now."""

    def ahead(self) -> list[Any]:
        """What the run does not hold, before the stages ahead of this one are done."""
        return self.missing()

    def found(self) -> int:
        """How many of its rows the run holds."""
        return 0

    def work(self, missing: Sequence[Any]) -> Counter[str]:
        """How many steps of each kind of :data:`secateur.experiment.pace.TYPICAL` it takes to make what is missing."""
        return Counter()

    def steps(self, missing: Sequence[Any]) -> int:
        """How many steps progress hears of."""
        return len(missing)

    @abstractmethod
    def run(self, missing: Sequence[Any], pace: Pace) -> None:
        """Make the rows that are missing, and tell of every step."""

    def tell(self) -> None:  # noqa: B027
        """Tell what the run holds now, where that is told of."""


class PointStage(Stage):
    """Rows that belong to points."""

    kind: ClassVar[str] = ""

    def points(self) -> list[Point]:
        """The points that are to have a row."""
        return self.sweep.points_of(self.seed)

    @abstractmethod
    def settings(self, point: Point) -> dict[str, Any]:
        """What names a point's row."""

    def missing(self) -> list[Point]:
        """The points without a row."""
        points = self.points()
        return [points[i] for i in self.sweep.missing(self.kind, [self.settings(p) for p in points])]

    def found(self) -> int:
        """The rows that are there."""
        points = self.points()
        return len(points) - len(self.sweep.missing(self.kind, [self.settings(p) for p in points]))

    def put_point(self, point: Point, figures: dict[str, Any]) -> None:
        """Write a point's row, and tell of it."""
        self.sweep.put(self.settings(point), figures)
        self.sweep.progress.point(point.settings(), figures)
        self.sweep.progress.step()
