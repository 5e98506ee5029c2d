"""What the engines of ONNX Runtime share: a session, called with tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from secateur.engines.base import Call, Engine, Inputs


class SessionCall:
    """A session of ONNX Runtime on a file, of as many threads as torch has, called with the tuple of its inputs."""

    def __init__(self, path: Path):
        from secateur.files.exporters.onnx_ import session_of

        self.path, self.session = path, session_of(path)
        self.names = [given.name for given in self.session.get_inputs()]

    def __call__(self, inputs: Inputs) -> list[Any]:
        """The outputs."""
        given = dict(zip(self.names, [one.numpy() for one in inputs], strict=True))
        outputs: list[Any] = self.session.run(None, given)
        return outputs


class OnnxRuntimeEngine(Engine):
    """ONNX Runtime on the CPU, from ONNX files whose batch is open.

    Its options are its defaults, which its guide to performance recommends: all optimisations of the graph, operators
    one after the other, an arena for memory.
    """

    title = "ONNX Runtime"
    needs = ("onnxruntime", "onnx", "onnxscript")
    extra = "onnx"

    def prepare(self, network: Path, inputs: Inputs, threads: int, way: str = "") -> Call:
        """A session on a file that :meth:`convert` wrote."""
        return SessionCall(network)
