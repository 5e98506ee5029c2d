"""ONNX Runtime in int8, quantised by its own tool; zeros are stored and multiplied like other numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from secateur.engines._files import DYNAMIC, STATIC, describe_int8, quantize_once
from secateur.engines._onnxruntime import OnnxRuntimeEngine
from secateur.engines.base import Inputs


class OnnxRuntimeInt8(OnnxRuntimeEngine):
    """ONNX Runtime in int8: weights with a sign and a scale for each output channel, inputs of layers rounded, too.

    It takes a network with ``dynamic`` ranges, those of each call, and with ``static`` ones, those of the samples.
    Dynamic ranges suit matrix products and LSTMs; convolutions, which they make slower than float32, stay in float32.
    With static ranges convolutions compute in int8, too, but LSTMs do not; GRUs do with neither.
    """

    rounds = True

    def precision(self) -> str:
        """int8, where :meth:`describe` names nothing else."""
        return "int8"

    def ways(self, network: nn.Module) -> tuple[str, ...]:
        """Both kinds of ranges; static ones alone where no weight is a matrix."""
        return (DYNAMIC, STATIC) if any(p.ndim == 2 for p in network.parameters()) else (STATIC,)

    def convert(self, network: nn.Module, inputs: Inputs, folder: Path, way: str = STATIC) -> Path:
        """The network as ``int8-dynamic.onnx`` or ``int8-static.onnx``."""
        return quantize_once(network, folder, inputs, way)

    def describe(self, call: Any) -> str:
        """What computes in float32."""
        return describe_int8(call.path)
