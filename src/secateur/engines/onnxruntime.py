"""The cut network in ONNX Runtime; zeros are stored and multiplied like other numbers."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from secateur.engines.base import Call, Engine, Inputs
from secateur.files.exporters import write_unchecked


class OnnxRuntime(Engine):
    """ONNX Runtime on the CPU, from the file that ``secateur export`` writes, its batch open."""

    title = "cut, ONNX Runtime"
    needs = ("onnxruntime", "onnx", "onnxscript")
    extra = "onnx"

    def convert(self, network: nn.Module, inputs: Inputs, folder: Path) -> Path:
        """The network as ``model.onnx``."""
        return write_unchecked(network, folder / "model.onnx", inputs, "onnx")

    def prepare(self, network: Path, inputs: Inputs, threads: int) -> Call:
        """A session of as many threads as torch has."""
        from secateur.files.exporters.onnx_ import session_of

        session = session_of(network)
        names = [given.name for given in session.get_inputs()]
        return lambda x: session.run(None, dict(zip(names, [one.numpy() for one in x], strict=True)))
