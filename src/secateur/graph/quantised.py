"""Networks whose weights are not the numbers that their tensors hold: quantised, float8 or sparse ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from secateur.core.errors import SecateurError
from secateur.core.modules import stored_tensors
from secateur.core.tensors import dtype_name

_QUANTISED = ("torch.ao.", "torchao.quantization.", "secateur.quantization.")
"""Packages that hold nothing but quantised layers, observers and fake quantisation."""


def check_plain(model: nn.Module) -> None:
    """Refuse a network with weights that are codes of other numbers: to cut the codes is not to cut the weights.

    Raises:
        SecateurError: quantised, float8 or sparse weights, or layers prepared for quantisation.
    """
    for name, module in model.named_modules():
        kind = type(module)
        if kind.__module__.startswith(_QUANTISED):
            raise SecateurError(f"module '{name}' is a {kind.__module__}.{kind.__name__}, quantised or prepared "
                                "for it: prune first, then quantise")
    for name, tensor in stored_tensors(model).items():
        if what := _why_not_plain(name, tensor):
            raise SecateurError(f"tensor '{name}' {what}")


def _why_not_plain(name: str, tensor: Tensor) -> str:
    if tensor.layout != torch.strided:
        layout = str(tensor.layout).removeprefix("torch.")
        return f"is sparse ({layout}): convert it to a dense weight first (to_dense())"
    own = (f"is a {type(tensor).__name__}, whose values are stored in a special format: prune the network with plain "
           "weights")
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return own
    last = name.rpartition(".")[2]
    number = tensor.is_complex() or (tensor.is_floating_point() and tensor.dtype.itemsize > 1)
    if number or tensor.dtype == torch.bool:
        # bitsandbytes packs codes into a float type too, or packs them when the tensor is moved.
        return own if type(tensor).to is not Tensor.to else ""
    # Other whole numbers (positions, counts of batches) are no weights.
    # the graph of a file has the layers' tensors without their classes
    codes = last == "codes" and tensor.dtype == torch.int8 and tensor.ndim > 1
    if (isinstance(tensor, nn.Parameter) and tensor.ndim > 1) or ("weight" in last and "mask" not in last) or codes:
        return f"holds {dtype_name(tensor.dtype)}, codes of a quantised weight: prune first, then quantise"
    return ""
