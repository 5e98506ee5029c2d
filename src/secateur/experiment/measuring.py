"""One point measured by a process that may be one of several."""

from __future__ import annotations

from typing import Any

from secateur.core.errors import RunError, SecateurError
from secateur.core.machine import cores
from secateur.experiment.point import Point
from secateur.experiment.trial import Bundle, open_bundle
from secateur.measure.latency import torch_threads

Job = tuple[Bundle, Point]
Result = tuple[int, dict[str, Any]]


def measure(job: Job, workers: int) -> dict[str, Any]:
    """Measure one point; ``workers`` share this machine's cores, so each takes its part of them.

    What cannot be cut or recovered gives ``refused``, the reason.

    Raises:
        SecateurError: the network or the data cannot be had here.
    """
    bundle, point = job
    trial = open_bundle(bundle)
    with torch_threads(max(1, cores() // workers) if workers > 1 else 0):
        try:
            return trial.measure(point)
        except RunError:
            raise
        except SecateurError as error:
            return {"refused": str(error)}
