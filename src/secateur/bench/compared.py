"""Ways into an engine of less precision than float32, compared with torch in float32 on samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from secateur.bench.network import outputs_of
from secateur.bench.points import CUT, ORIGINAL, Run
from secateur.bench.rounded import FULL, MOST_ERROR, as_plain, is_within
from secateur.bench.samples import Samples
from secateur.bench.worker import Worker, WorkerError
from secateur.core.errors import SecateurError, first_line
from secateur.data.batch import Batch
from secateur.data.forward import call
from secateur.engines.base import Engine
from secateur.measure.agreement import Agreement, agreement_of


class ComparedWays:
    """Samples in files, the outputs of torch in float32 for them, and how near those of engines are."""

    def __init__(self, samples: Samples, folder: Path):
        self.samples, self.folder = samples, folder
        self.files = [f"sample-{number}" for number, _ in enumerate(samples.held)]
        self.truths: dict[str, list[list[Tensor]]] = {}
        self.by_way: dict[tuple[Run, str], Agreement | None] = {}
        self.near: dict[tuple[Run, int], Agreement | None] = {}
        for name, batch in zip(self.files, samples.held, strict=True):
            save_file({str(k): x.contiguous().clone() for k, x in enumerate(batch.inputs)},
                      folder / f"{name}.safetensors")

    def choose(self, run: Run, engine: Engine, worker: Worker, network: nn.Module, ways: list[str]
               ) -> tuple[list[str], list[str]]:
        """The ways into an engine of which the fastest may be taken, and why others may not.

        In float32 these are all. In less precision they are those whose outputs are within the tolerance, or all that
        run where none is.

        Args:
            run: the engine and the network.
            engine: the same engine.
            worker: its process.
            network: the same network, its inputs taken by place.
            ways: those that took the network.

        Raises:
            WorkerError: none runs, or the network itself does not run on the samples.
        """
        if engine.precision() == FULL:
            return ways, []
        found, errors = dict[str, Agreement | None](), list[str]()
        truth = self.truth(run.network, network)
        for way in ways:
            try:
                found[way] = self.compare(worker, way, truth)
            except WorkerError as error:
                errors.append(f"{way}: {first_line(error)}".removeprefix(": "))
        if not found:
            raise WorkerError("; ".join(errors))
        self.by_way |= {(run, way): one for way, one in found.items()}
        far = {way: one for way, one in found.items() if one is not None and not is_within(one)}
        if len(far) == len(found):
            return [*found], errors
        return [way for way in found if way not in far], [*errors, *(
            f"{way}: less exact than is tolerated (relative error {one.error:.2g})" for way, one in far.items())]

    def take(self, run: Run, ways: Mapping[int, str]) -> None:
        """Keep which way was taken at each batch size."""
        self.near |= {(run, batch): self.by_way[run, way] for batch, way in ways.items() if (run, way) in self.by_way}

    def judge(self, run: Run, batch: int, gap: float) -> dict[str, Any]:
        """Of an engine in less precision: its agreement, and whether that is beyond the tolerance.

        Where no output is of floats, the largest difference (``gap``) stands for the relative error.
        """
        if (run, batch) not in self.near:
            return {}
        near = self.near[run, batch]
        within = gap <= MOST_ERROR if near is None else is_within(near)
        return {**({"agreement": as_plain(near)} if near else {}), **({} if within else {"ruined": True})}

    def notes(self, *others: str) -> list[str]:
        """What a reader has to know of the samples, and what else, where anything was compared on them."""
        return [note for note in (self.samples.note, *others) if note and self.near]

    def truth(self, name: str, network: nn.Module) -> list[list[Tensor]]:
        """The outputs of a network for every batch of samples; run once for each name.

        Raises:
            WorkerError: it does not run on them.
        """
        if name not in self.truths:
            try:
                self.truths[name] = [_outputs(network, batch) for batch in self.samples.held]
            except SecateurError as error:
                raise WorkerError(first_line(error)) from error
        return self.truths[name]

    def compare(self, worker: Worker, way: str, truth: list[list[Tensor]]) -> Agreement | None:
        """How near the outputs of a way into an engine are; None where no output is of floats.

        Raises:
            WorkerError: the engine fails, or its outputs are not finite.
        """
        path = self.folder / "compared.safetensors"
        worker.ask("compare", way=way, files=self.files, path=str(path))
        held = load_file(path)
        found = [[held[f"{i}.{k}"] for k in range(len(expected))] for i, expected in enumerate(truth)]
        near = _agreement(zip(self.samples.held, truth, found, strict=True))
        if near is not None and not math.isfinite(near.error):
            raise WorkerError("its outputs are not finite")
        return near

    def compare_cut(self, network: Callable[[Run], nn.Module]) -> Agreement | None:
        """How near the cut network's outputs are to the original's, both in torch.

        None on samples that are no user's own, and where no output is of floats.
        """
        if not self.samples.real:
            return None
        pair = [network(Run("torch", name)) for name in (ORIGINAL, CUT)]
        return _agreement((batch, *(_outputs(one, batch) for one in pair)) for batch in self.samples.held)


@torch.no_grad()
def _outputs(network: nn.Module, batch: Batch) -> list[Tensor]:
    """The outputs of a network that takes its inputs by place."""
    return outputs_of(call(network, Batch(batch.inputs)))


def _agreement(found: Iterable[Any]) -> Agreement | None:
    """The agreement of outputs, None where none is of floats."""
    try:
        return agreement_of(found)
    except SecateurError:
        return None
