"""The ways into an engine: files for them, and the fastest, measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from secateur.core.errors import first_line
from secateur.core.text import join_words
from secateur.engines.base import Call, Engine, Inputs
from secateur.measure.latency import interleave

_SECONDS = 0.3
"""Of timing all ways at a batch size: a way that is a few percent slower may be taken, one that is 1.2× not."""
Timer = Callable[[Mapping[str, Callable[[], Any]], float], Mapping[str, list[float]]]


def convert_ways(engine: Engine, network: nn.Module, inputs: Inputs,
                 folder: Path) -> tuple[dict[str, Path | None], list[str]]:
    """The file of a network for each way into an engine, None where it takes the network; why other ways are closed.

    Args:
        engine: whose ways these are.
        network: in evaluation mode, on the CPU.
        inputs: of at least two samples.
        folder: where the files go; made if it is not there.
    """
    files, errors = dict[str, Path | None](), list[str]()
    folder.mkdir(exist_ok=True)
    for way in engine.ways(network):
        try:
            with torch.inference_mode(False):
                files[way] = engine.convert(network, inputs, folder, way)
        except Exception as error:
            errors.append(f"{way} cannot be converted: {type(error).__name__}: {first_line(error)}".strip())
    return files, errors


def fastest_ways(open_way: Callable[[str], Call], ways: Iterable[str], batches: Mapping[int, Inputs],
                 timer: Timer = interleave) -> dict[int, str]:
    """For each batch size the way whose median call takes least time; of equal ones the first.

    A way that fails at a batch is left out.

    Args:
        open_way: prepares a network in a way.
        ways: the names of the ways.
        batches: inputs by batch size.
        timer: times calls against each other, for so many seconds; see :func:`secateur.measure.latency.interleave`.

    Raises:
        Exception: what the first way raised, where all of them fail.
    """
    names = [*ways]
    if len(names) == 1:
        return dict.fromkeys(batches, names[0])
    calls, errors = dict[str, Call](), list[Exception]()
    for way in names:
        try:
            call = open_way(way)
            for inputs in batches.values():
                call(inputs)
            calls[way] = call
        except Exception as error:
            errors.append(error)
    if not calls:
        raise errors[0]
    return {batch: _fastest({way: partial(call, inputs) for way, call in calls.items()}, timer)
            for batch, inputs in batches.items()}


def _fastest(calls: Mapping[str, Callable[[], Any]], timer: Timer) -> str:
    times = timer(calls, _SECONDS)
    return min(calls, key=lambda way: median(times[way]))


def describe_ways(chosen: Mapping[int, str]) -> str:
    """The ways that were taken, with their batch sizes where these differ.

    >>> describe_ways({1: "ONNX", 64: "ONNX"}), describe_ways({1: "ONNX", 64: "IR", 256: "IR"}), describe_ways({1: ""})
    ('ONNX', 'ONNX at batch 1, IR at batch 64 and 256', '')
    """
    sizes: dict[str, list[str]] = {}
    for batch, way in chosen.items():
        sizes.setdefault(way, []).append(str(batch))
    if len(sizes) == 1:
        return next(iter(sizes))
    return ", ".join(f"{way} at batch {join_words(at)}" for way, at in sizes.items())
