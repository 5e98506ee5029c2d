"""ONNX Runtime; zeros are stored and multiplied like other numbers."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from secateur.engines._files import write_once
from secateur.engines.base import Call, Engine, Inputs


class OnnxRuntime(Engine):
    """ONNX Runtime on the CPU, from the file that ``secateur export`` writes, its batch open.

    Its options are its defaults, which its guide to performance recommends: all optimisations of the graph, operators
    one after the other, an arena for memory.
    """

    title = "ONNX Runtime"
    needs = ("onnxruntime", "onnx", "onnxscript")
    extra = "onnx"

    def convert(self, network: nn.Module, inputs: Inputs, folder: Path, way: str = "") -> Path:
        """The network as ``model.onnx``."""
        return write_once(network, folder / "model.onnx", inputs, "onnx")

    def prepare(self, network: Path, inputs: Inputs, threads: int, way: str = "") -> Call:
        """A session of as many threads as torch has."""
        from secateur.files.exporters.onnx_ import session_of

        session = session_of(network)
        names = [given.name for given in session.get_inputs()]
        return lambda x: session.run(None, dict(zip(names, [one.numpy() for one in x], strict=True)))
