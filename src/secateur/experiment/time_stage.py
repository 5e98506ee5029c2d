"""The stage of a study in which its networks are timed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

from secateur.core.errors import RunError
from secateur.experiment.pace import Pace
from secateur.experiment.point import Point
from secateur.experiment.shared_timings import alike, group_by_timing
from secateur.experiment.stage import PointStage
from secateur.experiment.stored import check_timing
from secateur.experiment.trial import open_bundle
from secateur.measure.noise import AGAIN, noisy_batches, steadier


class Time(PointStage):
    """The timings, one after the other, while nothing else runs; what is the same to a machine is timed once."""

    name, rows, kind, is_shown = "time", "timing", "latency", True

    def points(self) -> list[Point]:
        """All points of the networks that are timed, but those that were refused, or that cost workers."""
        return [point for point in super().points() if self.grid.is_timed(point)]

    def settings(self, point: Point) -> dict[str, Any]:
        """What names a point's timing."""
        return self.grid.timing_settings(point)

    def missing(self) -> list[Point]:
        """The measured points that have no timing, or a noisy one."""
        return [point for point in self.points() if self._figures(point) and self._due(point)]

    def ahead(self) -> list[Point]:
        """The same, with those that are not measured yet."""
        return [point for point in self.points() if self._figures(point) != {} and self._due(point)]

    def _figures(self, point: Point) -> dict[str, Any] | None:
        """What was measured of a point; nothing of one that was refused, None where it is not measured yet."""
        figures = self.sweep.store.get(self.grid.point_settings(point))
        return {} if figures and "refused" in figures else figures

    def _due(self, point: Point) -> tuple[int, ...]:
        """The batch sizes at which a point is to be timed: all, or those that are noisy."""
        timing = self._timing(point)
        return self.grid.config.latency_batches if timing is None else noisy_batches(timing)

    def _timing(self, point: Point) -> dict[str, Any] | None:
        """The timing of a point that the run holds; None where there is none, or a damaged one."""
        timing = self.sweep.store.get(self.settings(point))
        try:
            if timing is not None:
                check_timing(timing)
        except RunError:
            return None
        return timing

    def work(self, missing: Sequence[Point]) -> Counter[str]:
        """A step for every network that is run."""
        later = {alike(point) for point in missing if self._figures(point) is None}
        return Counter(time=len(later) + sum(bool(self._due(first)) for first, *_ in self._groups(missing)))

    def run(self, missing: Sequence[Point], pace: Pace) -> None:
        """Time what is missing; what is noisy then is timed once more, for at most a part of the seconds it took."""
        start = perf_counter()
        self._time(missing, pace)
        end = perf_counter() + AGAIN * (perf_counter() - start)
        if noisy := self.missing():
            self.sweep.progress.stage("time again", len(noisy))
            self._time(noisy, pace, end)

    def _time(self, missing: Sequence[Point], pace: Pace, end: float = math.inf) -> None:
        """Time the first network of every group; the others get its figures, and say whose they are. No group is begun
        after a moment of the clock."""
        trial, wanted = open_bundle(self.sweep.bundle(self.seed)), set(missing)
        for first, *others in self._groups(missing):
            if perf_counter() >= end:
                break
            earlier, batches = self._timing(first), self._due(first)
            if batches:
                found = trial.time(*trial.cut(first), replace(self.grid.config.timing, batches=batches))
                earlier = steadier(found, earlier) if earlier else found
                pace.step("time")
                self.put_point(first, earlier)
            for point in (p for p in others if p in wanted):
                is_original = point.is_whole and point.recovery == "none"
                self.put_point(point, {**(earlier or {}), **({} if is_original else {"timed_as": str(first)})})

    def _groups(self, missing: Sequence[Point]) -> list[list[Point]]:
        """The points that share a timing, where any of them is to be timed; the first of each group is the one that is.
        """
        measured = {point: figures for point in self.points() if (figures := self._figures(point))}
        wanted = set(missing)
        return [group for group in group_by_timing(measured) if wanted & set(group)]
