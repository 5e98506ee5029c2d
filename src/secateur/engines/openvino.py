"""The cut network in OpenVINO, in float32; zeros are stored and multiplied like other numbers."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from secateur.engines.base import Call, Engine, Inputs
from secateur.files.exporters import write_unchecked


class OpenVino(Engine):
    """OpenVINO on the CPU, tuned for the latency of one call at a time."""

    title = "cut, OpenVINO"
    needs = ("openvino",)
    extra = "openvino"

    def convert(self, network: nn.Module, inputs: Inputs, folder: Path) -> Path:
        """The network as ``model.xml`` and ``model.bin``, weights in float32."""
        return write_unchecked(network, folder / "model.xml", inputs, "openvino")

    def prepare(self, network: Path, inputs: Inputs, threads: int) -> Call:
        """A request of one stream of so many threads."""
        from secateur.files.exporters.openvino_ import import_openvino

        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
                   "PERFORMANCE_HINT": "LATENCY"}
        request = import_openvino().Core().compile_model(str(network), "CPU", options).create_infer_request()
        return lambda x: [*request.infer([one.numpy() for one in x], share_inputs=True).values()]
