"""Dynamic quantisation by ONNX Runtime: weights in eight bits, inputs of layers rounded to eight as they come."""

from __future__ import annotations

import os
from pathlib import Path

from secateur.core.errors import UnsupportedError, first_line
from secateur.graph.capture import quiet


def quantize_weights(path: Path) -> None:
    """Exchange an ONNX file for one whose matrix products and convolutions are of int8.

    Weights have a scale for every tensor, and no sign: with signs the processors that have no instruction for
    it (AVX2 without VNNI) run over 16 bits and give other outputs.

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
                               "convolutions, LSTMs); leave it out")
    for file in path.parent.glob(f"{whole.name}*"):
        os.unlink(file)


def _forget_shapes(path: Path) -> None:
    """Take the shapes between operators out of an ONNX file.

    ONNX Runtime finds them anew, and its releases for Python 3.10 turn weights over without turning the shape
    that the file gives them, then refuse it.
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
