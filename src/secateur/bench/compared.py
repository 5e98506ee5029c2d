"""Ways into an engine of less precision than float32, compared with torch in float32 on samples."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from secateur.bench.network import outputs_of
from secateur.bench.rounded import is_within
from secateur.bench.samples import Samples
from secateur.bench.worker import Worker, WorkerError
from secateur.core.errors import SecateurError, first_line
from secateur.data.batch import Batch
from secateur.data.forward import call
from secateur.measure.agreement import Agreement, agreement_of


class ComparedWays:
    """Samples in files, and the outputs of torch in float32 for them, by network."""

    def __init__(self, samples: Samples, folder: Path):
        self.samples, self.folder = samples, folder
        self.files = [f"sample-{number}" for number, _ in enumerate(samples.held)]
        self.truths: dict[str, list[list[Tensor]]] = {}
        for name, batch in zip(self.files, samples.held, strict=True):
            save_file({str(k): x.contiguous().clone() for k, x in enumerate(batch.inputs)},
                      folder / f"{name}.safetensors")

    def truth(self, name: str, network: nn.Module) -> list[list[Tensor]]:
        """The outputs of a network for every batch of samples; run once for each name.

        Raises:
            SecateurError: it does not run on them.
        """
        if name not in self.truths:
            with torch.no_grad():
                self.truths[name] = [outputs_of(call(network, Batch(batch.inputs))) for batch in self.samples.held]
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
        try:
            near = agreement_of(zip(self.samples.held, truth, found, strict=True))
        except SecateurError:
            return None
        if not math.isfinite(near.error):
            raise WorkerError("its outputs are not finite")
        return near

    def choose(self, worker: Worker, ways: Iterable[str], truth: list[list[Tensor]]
               ) -> tuple[dict[str, Agreement | None], list[str]]:
        """The ways whose outputs are within the tolerance, all that run where none is, and why others do not.

        Raises:
            WorkerError: none runs.
        """
        found, errors = dict[str, Agreement | None](), list[str]()
        for way in ways:
            try:
                found[way] = self.compare(worker, way, truth)
            except WorkerError as error:
                errors.append(f"{way}: {first_line(error)}".removeprefix(": "))
        if not found:
            raise WorkerError("; ".join(errors))
        near = {way: one for way, one in found.items() if one is None or is_within(one, self.samples.real)}
        far = [f"{way}: less exact than is tolerated (relative error {found[way].error:.2g})"  # type: ignore[union-attr]
               for way in found if way not in near] if near else []
        return near or found, [*errors, *far]


def compare_cut(samples: Samples, original: nn.Module, cut: nn.Module) -> Agreement | None:
    """How near a cut network's outputs are to the original's, both in torch; None where no output is of floats.

    Args:
        samples: which both are run on.
        original, cut: their inputs taken by place.
    """
    def outputs(network: nn.Module, batch: Batch) -> Any:
        return call(network, Batch(batch.inputs))

    with torch.no_grad():
        try:
            return agreement_of((batch, outputs(original, batch), outputs(cut, batch)) for batch in samples.held)
        except SecateurError:
            return None
