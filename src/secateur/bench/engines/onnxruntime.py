"""The cut network in ONNX Runtime; zeros are stored and multiplied like other numbers."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from secateur.bench.engines.base import Call, Engine, Inputs, imported


class OnnxRuntime(Engine):
    """ONNX Runtime on the CPU, from a model that torch exports with an open batch."""

    title = "cut, ONNX Runtime"
    needs = ("onnxruntime", "onnx", "onnxscript")
    extra = "onnx"

    def convert(self, network: nn.Module, inputs: Inputs, folder: Path) -> Path:
        """The network as ``model.onnx``."""
        path = folder / "model.onnx"
        shapes = tuple({0: torch.export.Dim.AUTO} for _ in inputs)
        with quiet(), torch.no_grad():
            program = torch.export.export(Flat(network).eval(), inputs, dynamic_shapes=(shapes,), strict=False)
            torch.onnx.export(program, dynamo=True, verbose=False).save(path, external_data=False)  # type: ignore[union-attr]
        return path

    def prepare(self, network: Path, inputs: Inputs, threads: int) -> Call:
        """A session of so many threads."""
        runtime = imported("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
        session = runtime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]
        return lambda x: session.run(None, dict(zip(names, [one.numpy() for one in x], strict=True)))


class Flat(nn.Module):
    """A network called by position, whose outputs are a flat tuple."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, *inputs: torch.Tensor) -> Any:
        """The tensors among the outputs, in order."""
        return tuple(pytree.tree_leaves(self.network(*inputs)))


@contextlib.contextmanager
def quiet() -> Any:
    """Without what exporters print and log of their own work."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
