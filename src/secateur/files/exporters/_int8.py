"""An ONNX file in int8, by ONNX Runtime's quantisation, with the settings that its guide recommends for CPUs.

Weights have a sign and a scale for each output channel. The inputs of layers are rounded with *dynamic* ranges, found
anew in each call, or with *static* ones, those of samples. Dynamic ranges suit matrix products and LSTMs. Convolutions
take static ones: dynamic ones make them slower than float32.

https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch import Tensor

from secateur.core.errors import UnsupportedError, first_line
from secateur.core.processor import is_x86, overflows_int8
from secateur.files.exporters import _int8_file
from secateur.graph.capture import quiet

DYNAMIC, STATIC = "dynamic", "static"
_BATCH = 16
"""Samples that are run at once for their ranges."""
_WARNINGS, _FATAL = 2, 4
"""ONNX Runtime's levels of log lines; the first is its default."""
_LAYERS = {DYNAMIC: "matrix products, LSTMs", STATIC: "convolutions, matrix products"}
_DYNAMIC_OPERATORS = ["MatMul", "Attention", "LSTM", "Gather", "EmbedLayerNormalization"]
"""What computes in int8 with dynamic ranges, and tables whose rows are read. Gemm becomes MatMul."""
_FLOAT = {"Mul", "LayerNormalization", "InstanceNormalization", "BatchNormalization", "CumSum", "TopK", "Where"}
"""What static quantisation takes by default, and leaves in float32 here. ONNX Runtime's CPU engine computes all but Mul
in float32 anyway, between two roundings. Mul in int8 gains a few percent at most, and OpenVINO 2026.4 then gives wrong
outputs where one factor is a mask."""


def quantize_dynamic(source: Path, path: Path, narrow: bool | None = None) -> None:
    """Write an ONNX file whose matrix products and LSTMs compute in int8, with the ranges of each call.

    Args:
        source: the file in float32.
        path: the new file.
        narrow: whether weights have seven bits in place of eight, so that sums overflow on no processor; by default
            where they would on this one.

    Raises:
        UnsupportedError: nothing in it can be quantised, or ONNX Runtime fails at it.
    """
    from onnxruntime.quantization import quantize_dynamic as quantize

    def write(prepared: Path, **settings: Any) -> None:
        quantize(prepared, path, op_types_to_quantize=_DYNAMIC_OPERATORS, **settings)

    _quantize(source, path, DYNAMIC, narrow, write)


def quantize_static(source: Path, path: Path, samples: Sequence[Tensor], narrow: bool | None = None) -> None:
    """Write an ONNX file whose convolutions and matrix products compute in int8, with the ranges that samples have.

    The range of a tensor is from its least value to its greatest.

    Args:
        source: the file in float32.
        path: the new file.
        samples: the inputs in their order, samples along the first axis.
        narrow: as :func:`quantize_dynamic` takes it.

    Raises:
        UnsupportedError: nothing in it can be quantised, or ONNX Runtime fails at it.
    """
    from onnxruntime.quantization import QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as quantize
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    def write(prepared: Path, **settings: Any) -> None:
        kinds = sorted({*QDQRegistry, *QLinearOpsRegistry} - _FLOAT)
        # Instructions of x86 take one unsigned factor; for ARM the guide recommends signs on both.
        activations = QuantType.QUInt8 if is_x86() else QuantType.QInt8
        quantize(prepared, path, _Reader(prepared, samples), quant_format=QuantFormat.QDQ, op_types_to_quantize=kinds,
                 activation_type=activations, **settings)

    _quantize(source, path, STATIC, narrow, write)


def _quantize(source: Path, path: Path, ranges: str, narrow: bool | None, write: Callable[..., None]) -> None:
    """Prepare a file in a folder of its own, quantise it, and write into the result how that was done.

    Raises:
        UnsupportedError: nothing in it can be quantised, or ONNX Runtime fails at it.
    """
    from onnxruntime.quantization import QuantType

    narrow = overflows_int8() if narrow is None else narrow
    large = _int8_file.has_external_data(source)
    try:
        with TemporaryDirectory(prefix="secateur-int8-") as folder, quiet(), _silent():
            write(_prepare(source, Path(folder), large), weight_type=QuantType.QInt8, per_channel=True,
                  reduce_range=narrow, use_external_data_format=large)
        if not _int8_file.count_rounded(path):
            raise UnsupportedError(f"int8: the network has no layer that ONNX Runtime quantises ({_LAYERS[ranges]}, in "
                                   "float32); leave out int8")
        _int8_file.sign(path, ranges, narrow)
    except Exception as error:
        path.unlink(missing_ok=True)  # A file that is there counts as a whole one.
        if isinstance(error, UnsupportedError):
            raise
        raise UnsupportedError(f"ONNX Runtime cannot quantise the network: {type(error).__name__}: {first_line(error)}"
                               ) from error


@contextmanager
def _silent() -> Iterator[None]:
    """Keep ONNX Runtime's warnings from the terminal; those of its own sessions, which take no options of ours."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(_WARNINGS)


def _prepare(source: Path, folder: Path, large: bool) -> Path:
    """The file with shapes inferred and layers fused, as far as ONNX Runtime's own preparation gets with it."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    plain, made = _int8_file.without_shapes(source, folder / "plain.onnx"), folder / "prepared.onnx"
    for skip in (False, True):
        try:
            quant_pre_process(plain, made, skip_symbolic_shape=skip, save_as_external_data=large)
            return made
        except Exception:  # A network without inferred shapes is quantised, too, if less of it.
            continue
    return plain


class _Reader:
    """Samples by the names of a file's inputs, some at a time, as ONNX Runtime's calibration asks for them."""

    def __init__(self, path: Path, samples: Sequence[Tensor]):
        inputs = _int8_file.inputs_of(path)
        size = next(iter(inputs.values()), 0) or _BATCH
        by_input = [[part for part in x.split(size) if len(part) == size or size == _BATCH] for x in samples]
        self.parts = iter([{name: np.ascontiguousarray(x.numpy()) for name, x in zip(inputs, part, strict=True)}
                           for part in zip(*by_input, strict=True)])

    def get_next(self) -> dict[str, Any] | None:
        """The next samples; None at the end."""
        return next(self.parts, None)
