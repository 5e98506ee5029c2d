"""What the rows of a run have to be like, whoever wrote them: a row that is not is left out when a run is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from secateur.core.errors import RunError

MOST = 1 << 53
_NUMBER = (int, float)


@dataclass(frozen=True)
class Each:
    """A mapping of any names to values of one form."""

    form: Any


@dataclass(frozen=True)
class Maybe:
    """A value of a form, or none, or no such field."""

    form: Any


_SCALE = {"last_edge": _NUMBER, "shares": [_NUMBER], "beyond": _NUMBER, "below": [_NUMBER], "quantiles": [_NUMBER]}
_SPREAD = {"count": int, "mean": _NUMBER, "max": _NUMBER, "cv": _NUMBER, "gini": _NUMBER, "by_max": _SCALE,
           "by_mean": _SCALE}
_TIMING = {"median": _NUMBER, "low": _NUMBER, "high": _NUMBER, "speedup": Maybe(_NUMBER)}
_CONDITIONS = {"load": Maybe(_NUMBER), "rounds": int}
SETTINGS = {"seed": int, "granularity": str, "criterion": str, "scope": str, "recovery": Maybe(str),
            "sparsity": _NUMBER, "recovery_version": Maybe(int), "bits": Maybe(int)}
LATENCY = {"latency": Each(Each(_TIMING)), "conditions": Maybe(Each(_CONDITIONS)), "work_ratio": Maybe(_NUMBER),
           "sparse_error": Maybe(_NUMBER), "threads_used": Maybe(int), "engine_used": Maybe(str),
           "timed_as": Maybe(str)}
_STAGE = {"name": str, "error": Maybe(_NUMBER), "same": Maybe(_NUMBER), "samples": int, "seconds": _NUMBER,
          "how": Maybe(str)}
POINT = {"control": Maybe(bool), "needs_labels": Maybe(bool), "reached": _NUMBER, "items": int, "removed": int,
         "loss": _NUMBER, "accuracy": _NUMBER, "correct": Maybe(bytes), "tests": int, "parameters": int,
         "nonzeros": int, "bytes": int, "bytes_sparse": int, "bytes_file": Maybe(int), "flops": int,
         "flops_nonzero": int, "layers": [{"name": str, "items": int, "removed": int, "sparsity": _NUMBER,
                                           "removed_weights": Maybe(int)}],
         "notes": Maybe([str]), "samples_seen": Maybe(int), "predictions": Maybe([int]), "stages": Maybe([_STAGE])}
TRAINED = {"loss": _NUMBER, "accuracy": _NUMBER, "parameters": int,
           "history": Maybe([{"epoch": int, "loss": _NUMBER, "accuracy": _NUMBER, "seconds": _NUMBER}])}
STATISTICS = {"sparsities": [_NUMBER], "thresholds": [_NUMBER], "quantiles": [_NUMBER], "large": _NUMBER,
              "layers": [{"name": str, "shape": [int], "weight": _SPREAD, "neuron": _SPREAD, "fallen": [_NUMBER],
                          "even": [_NUMBER]}]}
SCAN = {"samples": int, "layers": [{"name": str, "items": int, "removed": [int], "loss": [_NUMBER],
                                    "same": [_NUMBER]}]}
SAMPLES = {"shape": [int], "pixels": bytes, "labels": [int]}
LABELS = {"labels": bytes}
RUN = {"config": {"model": str, "data": str, "granularity": Maybe([str]), "criterion": Maybe([str]),
                  "scope": Maybe([str]), "recovery": Maybe([str]), "sparsity": Maybe([_NUMBER]),
                  "tolerance": Maybe(_NUMBER)},
       "command": str, "trained": [str], "points": [str], "latency": [str], "anatomy": [str], "samples": str,
       "scans": Maybe([str]), "labels": Maybe(str), "timed": Maybe([str])}


def check(value: Any, form: Any, what: str) -> Any:
    """A value that has a form.

    Raises:
        RunError: it has another one; the message names the field.

    >>> check({"loss": 0.5, "more": 1}, {"loss": (int, float)}, "a row")
    {'loss': 0.5, 'more': 1}
    """
    if isinstance(form, Maybe):
        return value if value is None else check(value, form.form, what)
    if isinstance(form, (type, tuple)):
        kinds = form if isinstance(form, tuple) else (form,)
        if type(value) in kinds and (type(value) is not int or abs(value) <= MOST):
            return value
        raise RunError(f"{what} is {type(value).__name__}")
    if isinstance(form, list) and isinstance(value, list):
        return [check(one, form[0], f"{what}[]") for one in value]
    if isinstance(form, Each) and isinstance(value, dict):
        return {name: check(one, form.form, f"{what}.{name}") for name, one in value.items()}
    if isinstance(form, dict) and isinstance(value, dict):
        return value | {name: check(value.get(name), one, f"{what}.{name}") for name, one in form.items()
                        if name in value or not isinstance(one, Maybe)}
    raise RunError(f"{what} is {type(value).__name__}")


def check_once(run: Mapping[str, Any]) -> None:
    """Refuse a run that names a row twice: each time it is read anew, and a small file would take hours.

    Raises:
        RunError: it does.
    """
    for part in ("trained", "points", "latency", "scans", "anatomy", "timed"):
        if len(set(named := run.get(part) or [])) < len(named):
            raise RunError(f"what its run is made of names one of its {len(named)} {part} twice")


def check_point(figures: Mapping[str, Any], timing: Mapping[str, Any] | None) -> None:
    """Refuse the figures and timings of a point that cannot be.

    Raises:
        RunError: a field is of another type, or its value is none that a study measures.
    """
    check(dict(figures), POINT, "the row")
    correct, layers = figures.get("correct"), figures["layers"]
    if correct is not None and len(correct) != -(-figures["tests"] // 8):
        raise RunError("the row.correct does not have one entry per test sample")
    if figures["items"] < 1 or figures["tests"] < 1 or any(layer["items"] < 1 for layer in layers):
        raise RunError("the row has no items or no test samples")
    if timing is not None:
        check_timing(timing)


def check_timing(timing: Mapping[str, Any]) -> None:
    """Refuse a timing that cannot be.

    Raises:
        RunError: a field is of another type, or a ratio is none.
    """
    check(dict(timing), LATENCY, "the timing")
    for batch, ways in timing["latency"].items():
        others = [way for name, way in ways.items() if name != "original"]
        if not batch.isdecimal() or "original" not in ways or any(
                type(way.get(key)) is not float or not 0 < way[key] < MOST
                for way in others for key in ("speedup", "speedup_low", "speedup_high")):
            raise RunError(f"the timing at batch {batch} is not valid")
