"""Candidates timed side by side, each in the best engine at hand."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from secateur.core.errors import MeasurementError, SecateurError
from secateur.core.machine import OthersLoad
from secateur.core.modules import Plain, device_of
from secateur.core.pytree import repeat
from secateur.core.tensors import tensors_in
from secateur.data.batch import Batch
from secateur.engines.base import Engine, Inputs
from secateur.engines.onnxruntime import OnnxRuntime
from secateur.engines.sparse import Sparse
from secateur.engines.torch import Torch
from secateur.experiment.search.candidate import LEAVE, Candidate
from secateur.measure.agreement import agreement_of
from secateur.measure.latency import interleave
from secateur.measure.noise import busy
from secateur.measure.size import has_zeroed_weights
from secateur.measure.speed import Speed

_Way = tuple[Candidate, str]
"""A candidate and the engine that runs it."""
_ALIKE = 0.999
"""An engine counts whose outputs have at least this cosine with the network's: a code of int8 may be rounded to the
other side."""


@dataclass(frozen=True)
class Timed:
    """What timing gave.

    Attributes:
        speeds: of each candidate that was timed its engine and its speed beside the network left as it is.
        notes: why one was not timed.
        remarks: whether the machine was busy.
    """

    speeds: Mapping[Candidate, tuple[str, Speed]]
    notes: Mapping[Candidate, str]
    remarks: tuple[str, ...]


def time_candidates(networks: Mapping[Candidate, nn.Module], batch: Batch, seconds: float) -> Timed:
    """Time networks in interleaved rounds, one candidate of them :data:`LEAVE`, on the CPU.

    Args:
        networks: the candidates.
        batch: the inputs of a call.
        seconds: for all of them together.
    """
    ways, calls, notes = dict[str, _Way](), dict[str, Any](), dict[Candidate, str]()
    inputs = tuple(v for v in batch.to("cpu").inputs if isinstance(v, Tensor))
    others = OthersLoad()
    with TemporaryDirectory(prefix="secateur-search-") as folder, torch.inference_mode():
        for number, (candidate, network) in enumerate(networks.items()):
            place = Path(folder) / str(number)
            place.mkdir()
            plain = Plain(network if device_of(network).type == "cpu" else copy.deepcopy(network).cpu(),
                          batch.names).eval()
            for engine in _engines(candidate, network):
                try:
                    calls[key := str(len(calls))] = _call(engine, plain, inputs, place)
                    ways[key] = candidate, engine.title
                except (SecateurError, MeasurementError, ImportError) as error:
                    notes[candidate] = f"not timed in {engine.title}: {error}"
        times = {ways[key]: values for key, values in interleave(calls, seconds).items()}
    speeds = _speeds(times)
    return Timed(speeds, {one: note for one, note in notes.items() if one not in speeds}, busy(others.measure()))


def _engines(candidate: Candidate, network: nn.Module) -> Iterator[Engine]:
    """What may run a candidate. Zeros change nothing in ONNX Runtime, which runs the network left as it is as fast."""
    is_zeroed = candidate != LEAVE and has_zeroed_weights(network)
    if candidate.bits == 32:
        yield Torch()
        if is_zeroed:
            yield Sparse()
    if candidate.bits == 8 or (candidate.bits == 32 and not is_zeroed):
        yield from () if OnnxRuntime().refusals() else (OnnxRuntime(),)


def _call(engine: Engine, network: nn.Module, inputs: Inputs, folder: Path) -> Any:
    """A network in an engine, as a call without arguments.

    Raises:
        SecateurError: the engine does not take it.
        MeasurementError: its outputs are others.
    """
    with torch.inference_mode(False):
        path = engine.convert(network, repeat(inputs, max(2, len(inputs[0]))), folder)
    call = engine.prepare(path or network, inputs, torch.get_num_threads())
    found = [torch.as_tensor(one) for one in tensors_in(call(inputs)) or call(inputs)]
    near = agreement_of([(Batch(inputs), network(*inputs), tuple(found))])
    if not near.cosine >= _ALIKE:
        raise MeasurementError(f"its outputs have a cosine of {near.cosine:.4f} with the network's, allowed is "
                               f"{_ALIKE}")
    return lambda: call(inputs)


def _speeds(times: Mapping[_Way, Sequence[float]]) -> dict[Candidate, tuple[str, Speed]]:
    """The fastest engine of each candidate, with the ratio of rounds to those of the network left as it is."""
    medians = {way: float(np.median(values)) for way, values in times.items()}
    fastest = {one: min((way for way in times if way[0] == one), key=lambda way: medians[way])
               for one, _ in times}
    base = times[fastest[LEAVE]]
    return {one: (way[1], _ratio(base, times[way], medians[way])) for one, way in fastest.items()}


def _ratio(base: Sequence[float], own: Sequence[float], seconds: float) -> Speed:
    low, ratio, high = (float(q) for q in np.percentile(np.divide(base, own), [25, 50, 75]))
    return Speed(seconds, ratio, low, high)


def why_int8_is_not_timed() -> str:
    """Why int8 cannot be timed here, as a clause; empty where it can."""
    reasons = OnnxRuntime().refusals()
    return f"int8 is not timed, so that it cannot win: {reasons[0]}" if reasons else ""
