"""Dynamic quantisation by ONNX Runtime: weights in eight bits, inputs of layers rounded to eight bits in each call."""

from __future__ import annotations

import os
from pathlib import Path

from secateur.core.errors import UnsupportedError, first_line
from secateur.graph.capture import quiet


def quantize_weights(path: Path) -> None:
    """Replace an ONNX file by one whose matrix products and convolutions compute in int8.

    Each weight tensor has one scale, and its integers no sign: with signs, processors without an instruction for such
    products (AVX2 without VNNI) overflow 16 bits and give other outputs.

    Raises:
        UnsupportedError: nothing in it can be quantised, or ONNX Runtime fails at it.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    whole = path.with_name(f"whole-{path.name}")
    path.rename(whole)
    _forget_shapes(whole)
    try:
        with quiet():
            quantize_dynamic(whole, path, weight_type=QuantType.QUInt8)
    except Exception as error:
        raise UnsupportedError(f"ONNX Runtime cannot quantise the network: {type(error).__name__}: {first_line(error)}"
                               ) from error
    if not _count_integer_operators(path):
        raise UnsupportedError("int8: the network has no layer that ONNX Runtime quantises (matrix products, "
                               "convolutions, LSTMs); leave out int8")
    for file in path.parent.glob(f"{whole.name}*"):
        os.unlink(file)


def _forget_shapes(path: Path) -> None:
    """Remove the shapes between operators from an ONNX file; ONNX Runtime infers them again.

    Its releases for Python 3.10 transpose weights without transposing the shapes in the file, and then refuse it.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    del model.graph.value_info[:]
    onnx.save(model, str(path))


def _count_integer_operators(path: Path) -> int:
    """How many operators of an ONNX file compute in eight bits."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    return sum("Integer" in node.op_type or node.op_type.startswith(("DynamicQuantizeLSTM", "QAttention"))
               for node in graph.node)
