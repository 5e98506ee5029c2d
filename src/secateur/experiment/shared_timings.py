"""Which points of one trained network share a timing, because a machine cannot tell their networks apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from secateur.experiment.point import Point
from secateur.pruning.criteria.base import as_criterion
from secateur.recovery.pipeline import recoveries

Figures = Mapping[str, Any]


def group_by_timing(rows: Mapping[Point, Figures]) -> list[list[Point]]:
    """The points in groups that share a timing; the first of each group is the one to time.

    * Networks that lost neurons are dense networks: those of equal shapes run the same operations on as many numbers.
    * Where nothing was removed, every network is the original, or has its shapes.
    * A control of zeroed weights takes the timing of a method that leaves as many zeros in every layer, where there is
      one; the zeros of a method lie where it put them, so that it is timed itself.

    Args:
        rows: measured points of one trained network, with their figures.
    """
    groups: dict[Any, list[Point]] = defaultdict(list)
    homes: dict[Any, Any] = {}
    ordered = sorted(rows, key=lambda point: (_is_control(point), point.recovery != "none"))
    for point in ordered:
        key: Any = (what := _what_runs(point, rows[point]))
        if _is_zeroed(point, rows[point]):
            if not _is_control(point):
                homes.setdefault(what, point)
            key = homes.get(what, what) if _is_control(point) else point
        groups[key].append(point)
    return list(groups.values())


def _what_runs(point: Point, figures: Figures) -> tuple[Any, ...]:
    """What a machine has to do: the kind of cut, how much went where, and how many numbers are left."""
    layers, zeroed = figures["layers"], point.granularity != "neuron"
    removed = tuple((layer["name"], layer["items"], layer.get("removed_weights", layer["removed"])) for layer in layers)
    # A recovery that chooses anew removes as many blocks as its plan, but of other sizes where blocks have several.
    left = figures["nonzeros"] if any("removed_weights" in layer for layer in layers) else None
    return point.granularity if zeroed else "", removed, left, figures["parameters"], figures["flops"]


def _is_zeroed(point: Point, figures: Figures) -> bool:
    """Whether the network has zeros that sparse kernels leave out."""
    return point.granularity != "neuron" and figures["removed"] > 0


def _is_control(point: Point) -> bool:
    return as_criterion(point.criterion)[1].control or any(item.control for item in recoveries(point.recovery))


def alike(point: Point) -> tuple[Any, ...]:
    """What points that are going to share a timing have in common, as far as that is known before they are measured."""
    zeroed = point.granularity != "neuron" and not point.is_whole and not _is_control(point)
    own = (point.criterion, point.recovery) if zeroed else ()
    return (point.granularity, point.scope, point.sparsity, *own)
