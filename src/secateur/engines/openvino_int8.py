"""OpenVINO in int8, from the file that ONNX Runtime's tool quantised; zeros are stored and multiplied like others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from secateur.engines._files import STATIC, describe_int8, quantize_once
from secateur.engines._openvino import OpenVinoEngine
from secateur.engines.base import Inputs


class OpenVinoInt8(OpenVinoEngine):
    """OpenVINO in int8, with the ranges that the samples have; what is not in int8 has OpenVINO's default precision.

    The file is that of ``onnxruntime-int8`` with static ranges. OpenVINO's own tool, NNCF, is not needed.
    """

    rounds = True
    needs = ("openvino", "onnxruntime", "onnx", "onnxscript")
    extra = "openvino,onnx"

    def precision(self) -> str:
        """int8, where :meth:`describe` names nothing else."""
        return "int8"

    def ways(self, network: nn.Module) -> tuple[str, ...]:
        """The only one."""
        return (STATIC,)

    def convert(self, network: nn.Module, inputs: Inputs, folder: Path, way: str = STATIC) -> Path:
        """The network as ``int8-static.onnx``."""
        return quantize_once(network, folder, inputs, way)

    def describe(self, call: Any) -> str:
        """What is not in int8."""
        return describe_int8(call.path)
