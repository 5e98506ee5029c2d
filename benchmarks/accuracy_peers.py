"""Where a peer is ahead: differences between two methods on the same trained networks, seed by seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runtime_tables import table_of

Row = dict[str, Any]
T95 = {3: 4.303, 4: 3.182, 5: 2.776}
SETTINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "weight": {"magnitude + rechoose": ("published SparseGPT", "published Wanda", "torch.nn.utils.prune l1",
                                        "torch.nn.utils.prune random"),
               "magnitude + reconstruct": (),
               "best-finetune": ("gradual, 5 epochs (as tfmot)",)},
    "neuron": {"elimination + reconstruct": ("Torch-Pruning magnitude", "Torch-Pruning Taylor",
                                             "Torch-Pruning Hessian"),
               "cholesky + reconstruct": (),
               "elimination + reconstruct + 5 epochs": ("Torch-Pruning Taylor + 5 epochs",)}}
"""Ours for each granularity, without and with training, and the peers that may look at no less."""


@dataclass(frozen=True)
class Point:
    """One of our methods beside one peer; ``mean`` of peer minus ours in [0, 1], ``half`` its 95% interval."""

    case: str
    granularity: str
    sparsity: float
    ours: str
    peer: str
    mean: float
    half: float | None
    seeds: int

    @property
    def verdict(self) -> str:
        """Who is ahead by more than the interval, ``level`` where neither is, ``few`` where the seeds are too few."""
        if self.half is None:
            return "few"
        return "level" if abs(self.mean) <= self.half else "peer" if self.mean > 0 else "ours"


def paired(one: Row, other: Row) -> tuple[float, float | None, int]:
    """The mean of one minus other over the seeds that both have, half its 95% interval, and their number.

    >>> paired({"by_seed": {"0": 0.75, "1": 0.5}}, {"by_seed": {"0": 0.5, "1": 0.25}})
    (0.25, None, 2)
    """
    both = [one["by_seed"][s] - other["by_seed"][s] for s in one["by_seed"] if s in other["by_seed"]]
    return statistics.mean(both), half_interval(both), len(both)


def half_interval(values: list[float]) -> float | None:
    """Half the 95% interval of a mean by Student's t; None for fewer than three values, which say too little.

    >>> round(half_interval([1.0, 2.0, 3.0]), 3)
    2.484
    """
    if len(values) < min(T95):
        return None
    return T95.get(len(values), 1.96) * statistics.stdev(values) / math.sqrt(len(values))


def points(found: dict[str, Any]) -> Iterator[Point]:
    """All pairs of ours and a peer that were both run."""
    rows = {(r["model"], r["data"], r["granularity"], r["method"], r["sparsity"]): r for r in found["rows"]}
    for (model, data, granularity, method, sparsity), mine in rows.items():
        for peer in SETTINGS.get(granularity, {}).get(method, ()):
            other = rows.get((model, data, granularity, peer, sparsity))
            if other and set(other["by_seed"]) & set(mine["by_seed"]):
                yield Point(f"`{model}` on `{data}`", granularity, sparsity, method, peer, *paired(other, mine))


def ahead(found: dict[str, Any]) -> str:
    """How often ours, a peer or neither is ahead, and every point where a peer's mean is the better one."""
    all_points = list(points(found))
    count = {v: sum(p.verdict == v for p in all_points) for v in ("ours", "level", "peer", "few")}
    text = (f"Of {len(all_points)} pairs of one of our methods and a peer at the same sparsity of the same networks, "
            f"the difference over the seeds is beyond its 95 % interval in our favour in {count['ours']} and in the "
            f"peer's in {count['peer']}; {count['level']} are level within it"
            + (f"; {count['few']} were run on one or two seeds, which give no interval." if count["few"] else "."))
    better = sorted((p for p in all_points if p.mean > 0), key=lambda p: -p.mean)
    if not better:
        return text + " No peer's mean is above ours anywhere."
    heads = ["network", "cut", "ours", "peer", "peer − ours, points", ""]
    lines = [[p.case, f"{p.sparsity:.0%} of the {p.granularity}s", p.ours, p.peer, f"{100 * p.mean:+.2f}" + (
        f" ± {100 * p.half:.2f}" if p.half is not None else ""), NAMES[p.verdict]] for p in better]
    return f"{text} Where a peer's mean is above ours:\n\n{table_of(heads, lines)}"


NAMES = {"peer": "peer ahead", "level": "level", "few": "too few seeds"}
