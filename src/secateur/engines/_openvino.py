"""What the engines of OpenVINO share: the formats that it reads, and the options that do not depend on precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from secateur.engines._files import write_once
from secateur.engines.base import Call, Engine, Inputs

_FORMATS = {"IR": ("openvino", "model.xml"), "ONNX": ("onnx", "model.onnx")}


class RequestCall:
    """A request of OpenVINO of one stream, called with the tuple of its inputs.

    Args:
        path: the file.
        threads: how many threads it may use.
        options: of the compilation, besides those for latency.
    """

    def __init__(self, path: Path, threads: int, options: dict[str, Any]):
        from secateur.files.exporters.openvino_ import import_openvino

        # Threads are not tied to cores, as in the other engines: on a busy machine a call would wait for its core.
        options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
                   "ENABLE_CPU_PINNING": False, **options}
        self.path = path
        self.request = import_openvino().Core().compile_model(str(path), "CPU", options).create_infer_request()

    def __call__(self, inputs: Inputs) -> list[Any]:
        """The outputs."""
        return [*self.request.infer([one.numpy() for one in inputs], share_inputs=True).values()]


class OpenVinoEngine(Engine):
    """OpenVINO on the CPU, tuned for the latency of one call at a time.

    It reads what its own converter makes of the exported program, and the file that ``secateur export --to onnx``
    writes: neither is the faster one for every network.

    Attributes:
        options: of the compilation, besides those for latency.
    """

    title = "OpenVINO"
    needs: tuple[str, ...] = ("openvino",)
    extra = "openvino"
    options: dict[str, Any] = {}  # noqa: RUF012

    def ways(self, network: nn.Module) -> tuple[str, ...]:
        """The formats that it reads."""
        return tuple(_FORMATS)

    def convert(self, network: nn.Module, inputs: Inputs, folder: Path, way: str = "IR") -> Path:
        """The network as ``model.xml`` and ``model.bin`` or as ``model.onnx``, weights in float32."""
        to, name = _FORMATS[way]
        return write_once(network, folder / name, inputs, to)

    def prepare(self, network: Path, inputs: Inputs, threads: int, way: str = "") -> Call:
        """A request of one stream of so many threads."""
        return RequestCall(network, threads, self.options)
