"""``torch.export``'s own file: loads with torch alone, as ``torch.export.load(path).module()``."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from secateur.core.tensors import tensors_in
from secateur.data.input_spec import InputSpec
from secateur.files.exporters._program import Subject
from secateur.files.exporters.base import Exporter, Int8, Run
from secateur.graph.capture import quiet
from secateur.quantization import operators


class Pt2(Exporter):
    """The exported program, without lines of the network's source. Of the example it holds types, shapes and bounds;
    the values are random."""

    suffix = ".pt2"

    def write(self, subject: Subject, path: Path, int8: Int8 = False) -> None:
        """Write the program, through memory: torch's own writer ends the process where the disk is full."""
        program = _in_aten(subject.traced.program)
        spec = InputSpec.of((subject.args, subject.kwargs))
        program.example_inputs = spec.random() if spec.to_json() else None
        for module in (m for m in program.graph_module.modules() if isinstance(m, torch.fx.GraphModule)):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
        held = io.BytesIO()
        with quiet():
            torch.export.save(program, held)
        path.write_bytes(held.getbuffer())

    def open(self, path: Path, subject: Subject) -> Run:
        """The program that was read back."""
        with quiet():
            module = torch.export.load(path).module()

        def run(inputs: Sequence[Tensor]) -> list[Tensor]:
            args, kwargs = subject.given(inputs)
            with torch.no_grad():
                return tensors_in(module(*args, **kwargs))

        return run


def _in_aten(program: ExportedProgram) -> ExportedProgram:
    """A program without the operators of int8 layers, which torch alone does not know: their arithmetic is spelt out.
    """
    if not any(node.target in operators.OPERATORS for node in program.graph.nodes):
        return program
    codes = [one for one in program.state_dict.values() if one.dtype == torch.int8]
    with quiet():
        return program.run_decompositions(operators.spelt_out(codes))
