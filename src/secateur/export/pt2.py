"""``torch.export``'s own file: loads with torch alone, as ``torch.export.load(path).module()``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from secateur.export._program import Subject, tensors_of
from secateur.export.base import Exporter, Run
from secateur.graph.capture import quiet


class Pt2(Exporter):
    """The exported program. It holds neither the example's values nor lines of the network's source."""

    suffix = ".pt2"

    def write(self, subject: Subject, path: Path, int8: bool = False) -> None:
        """Write the program."""
        program = subject.traced.program
        program.example_inputs = None
        for module in (m for m in program.graph_module.modules() if isinstance(m, torch.fx.GraphModule)):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
        with quiet():
            torch.export.save(program, path)

    def opened(self, path: Path, subject: Subject) -> Run:
        """The program that was read back."""
        with quiet():
            module = torch.export.load(path).module()

        def run(inputs: Sequence[Tensor]) -> list[Tensor]:
            args, kwargs = subject.given(inputs)
            with torch.no_grad():
                return tensors_of(module(*args, **kwargs))

        return run
