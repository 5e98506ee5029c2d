"""OpenVINO's intermediate representation: ``NAME.xml`` with its tensors in ``NAME.bin``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from secateur.core.errors import SecateurError, UnsupportedError, first_line
from secateur.files.exporters import _qdq
from secateur.files.exporters._program import Subject
from secateur.files.exporters.base import Exporter, Int8, Run
from secateur.files.exporters.onnx_ import Onnx
from secateur.graph.capture import quiet


class OpenVino(Exporter):
    """OpenVINO IR in the network's own type: nothing is rounded to half precision."""

    suffix = ".xml"
    packages = ("openvino",)
    extra = "openvino"

    def write(self, subject: Subject, path: Path, int8: Int8 = False) -> None:
        """Convert the program; sizes that the network fixes stay fixed."""
        openvino, trace = import_openvino(), subject.traced
        try:
            with quiet():
                model = _quantised(subject) if subject.quantised else openvino.convert_model(trace.program)
                model.reshape({model.input(name): openvino.PartialShape(_partial_shape(sizes)) for name, sizes
                               in zip(trace.names, trace.sizes, strict=True) if _has_input(model, name)})
                openvino.save_model(model, path, compress_to_fp16=False)
        except SecateurError:
            raise
        except Exception as error:
            raise UnsupportedError(f"OpenVINO cannot convert {subject.original}: {first_line(error)}") from error

    def open(self, path: Path, subject: Subject) -> Run:
        """The model compiled for the CPU, computing in the type that it is written in."""
        core = import_openvino().Core()
        core.set_property({"ENABLE_MMAP": False})
        compiled = core.compile_model(path, "CPU", {
            "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()})

        def run(inputs: Sequence[Tensor]) -> list[Tensor]:
            given = {n: x.numpy() for n, x in zip(subject.traced.names, inputs, strict=True) if _has_input(compiled, n)}
            found = compiled(given)
            return [torch.from_numpy(found[port].copy()) for port in compiled.outputs]

        return run

    def runtime(self) -> str:
        """OpenVINO with its version."""
        return f"OpenVINO {import_openvino().__version__.partition('-')[0]}"


def _quantised(subject: Subject) -> Any:
    """A network of int8 layers by way of ONNX, which has a form for these.

    Raises:
        MissingExtraError: the packages that write ONNX are not installed.
        SecateurError: a layer has no form there.
    """
    _qdq.check_static(subject.model, "openvino")
    writer = Onnx()
    writer.check_installed()
    with TemporaryDirectory(prefix="secateur-openvino-") as folder:
        writer.write(subject, path := Path(folder) / "network.onnx")
        core = import_openvino().Core()
        # A file that is mapped into memory would be read after the folder is gone.
        core.set_property({"ENABLE_MMAP": False})
        return core.read_model(path)


def _partial_shape(sizes: Sequence[int | str]) -> list[int]:
    """Sizes, with -1 for an open one."""
    return [-1 if isinstance(s, str) else s for s in sizes]


def _has_input(model: Any, name: str) -> bool:
    """Whether a model has an input of a name: conversion drops those that the network does not use."""
    return any(name in port.get_names() for port in model.inputs)


def import_openvino() -> Any:
    """OpenVINO without its telemetry package, which reports every use to Intel."""
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    if sys.modules.get("openvino_telemetry", openvino) is None:
        del sys.modules["openvino_telemetry"]
    return openvino
