"""What was timed: an engine with one of the two networks, and the figures of its calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from secateur.measure.latency import summary

ORIGINAL, CUT = "original", "cut"


@dataclass(frozen=True)
class Run:
    """An engine with the network before the cut (``original``) or after it (``cut``)."""

    engine: str
    network: str

    def __str__(self) -> str:
        return f"{self.network} {self.engine}"


def run_of(point: Mapping[str, Any], cut: str) -> Run:
    """The run of a point.

    Results of version 1 do not name the network: ``dense`` ran the original, other engines the network after the cut,
    which has the same speed as the original where weights were cut and the engine does not use their zeros.

    >>> str(run_of({"engine": "dense"}, "neuron")), str(run_of({"engine": "openvino"}, "weight"))
    ('original dense', 'original openvino')
    """
    engine = str(point["engine"])
    if "network" in point:
        return Run(engine, str(point["network"]))
    original = engine == "dense" or (cut != "neuron" and engine != "sparse")
    return Run(engine, ORIGINAL if original else CUT)


def name_of(point: Mapping[str, Any]) -> str:
    """The run of a point as ``against`` names it: in results of version 1 the engine alone."""
    return f"{point['network']} {point['engine']}" if "network" in point else str(point["engine"])


def points(times: Mapping[Run, list[list[float]]], outputs: Mapping[Run, dict[str, Any]], threads: int,
           batch: int) -> Iterator[dict[str, Any]]:
    """The figures of every run at one batch size.

    Args:
        times: the seconds of every call, in lists of a round each.
        outputs: what is known of the outputs: ``error``, ``precision``.
        threads: of every engine.
        batch: how many samples a call has.
    """
    if not times:
        return
    base = next(iter(times))
    medians = {run: [float(np.median(r)) for r in rounds] for run, rounds in times.items()}
    ratios = summary({str(run): values for run, values in medians.items()}, str(base))
    for run, rounds in times.items():
        calls = np.concatenate(rounds)
        p50, p90, p99 = (float(v) for v in np.percentile(calls, [50, 90, 99]))
        speed = {k: v for k, v in ratios[str(run)].items() if k.startswith("speedup")}
        yield {"engine": run.engine, "network": run.network, "threads": threads, "batch": batch, "p50": p50, "p90": p90,
               "p99": p99, "calls": len(calls), "samples_per_s": batch * len(calls) / float(calls.sum()),
               "against": str(base), "rounds": medians[run], **outputs[run], **speed}
