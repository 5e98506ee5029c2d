"""What an ONNX file holds, as far as its quantisation has to know."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_KEY = "secateur.int8"
_WHOLE = ("MatMulInteger", "ConvInteger", "DynamicQuantizeLSTM", "QAttention", "DynamicQuantizeMatMul")
"""Operators that compute in int8 whatever stands before them."""
_PAIRED = ("Conv", "ConvTranspose", "MatMul", "Gemm")
"""Operators that compute in int8 where both of their factors were rounded before."""
_HEAVY = (*_PAIRED, "LSTM", "GRU", "RNN", "Attention", "MultiHeadAttention")


def count_rounded(path: Path) -> int:
    """How many operators of a file compute in int8."""
    nodes = _load(path).graph.node
    return sum(node.op_type in _WHOLE for node in nodes) + sum(1 for _ in _rounded(nodes))


def count_convolutions(path: Path) -> int:
    """How many convolutions a file has."""
    return sum(node.op_type in ("Conv", "ConvTranspose") for node in _load(path).graph.node)


def kept_in_float(path: Path) -> dict[str, int]:
    """How many operators of each type that do much work compute in floating-point numbers."""
    nodes = _load(path).graph.node
    every = Counter(node.op_type for node in nodes if node.op_type in _HEAVY)
    return dict(every - Counter(node.op_type for node in _rounded(nodes)))


def sign(path: Path, ranges: str, narrow: bool) -> None:
    """Write into a file how it was quantised, and remove what only quantisation needs: the shapes in between."""
    import onnx

    model = _load(path)
    del model.graph.value_info[:]
    onnx.helper.set_model_props(model, {_KEY: json.dumps({"ranges": ranges, "narrow": narrow})})
    onnx.save(model, str(path))


def signature(path: Path) -> tuple[str, bool] | None:
    """What :func:`sign` wrote: ``dynamic`` or ``static``, and whether weights have seven bits; None of other files."""
    for entry in _load(path).metadata_props:
        if entry.key == _KEY:
            told = json.loads(entry.value)
            return str(told["ranges"]), bool(told["narrow"])
    return None


def without_shapes(source: Path, path: Path) -> Path:
    """Copy a file without the shapes between its operators; ONNX Runtime infers them again.

    Its releases for Python 3.10 transpose weights without transposing the shapes in the file, and then refuse it.
    """
    import onnx

    large, model = has_external_data(source), onnx.load(str(source))
    del model.graph.value_info[:]
    onnx.save_model(model, str(path), save_as_external_data=large)
    return path


def has_external_data(path: Path) -> bool:
    """Whether tensors of a file lie in another file beside it."""
    return any(tensor.external_data for tensor in _load(path).graph.initializer)


def inputs_of(path: Path) -> dict[str, int]:
    """The inputs of a file in their order, each with its number of samples; 0 where that is open."""
    graph = _load(path).graph
    weights = {tensor.name for tensor in graph.initializer}
    shapes = {one.name: one.type.tensor_type.shape.dim for one in graph.input if one.name not in weights}
    return {name: sizes[0].dim_value if sizes else 0 for name, sizes in shapes.items()}


def _rounded(nodes: Any) -> Iterator[Any]:
    """The operators whose two factors come from integers."""
    whole = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    yield from (node for node in nodes if node.op_type in _PAIRED and whole.issuperset(node.input[:2]))


def _load(path: Path) -> Any:
    """A file without the tensors that lie beside it."""
    import onnx

    return onnx.load(str(path), load_external_data=False)
