"""ONNX Runtime; zeros are stored and multiplied like other numbers."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from secateur.engines._files import write_once
from secateur.engines._onnxruntime import OnnxRuntimeEngine
from secateur.engines.base import Inputs


class OnnxRuntime(OnnxRuntimeEngine):
    """ONNX Runtime in float32, from the file that ``secateur export`` writes."""

    def convert(self, network: nn.Module, inputs: Inputs, folder: Path, way: str = "") -> Path:
        """The network as ``model.onnx``."""
        return write_once(network, folder / "model.onnx", inputs, "onnx")
