"""The types of tensors by their names in torch and in safetensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from secateur.core.errors import SecateurError
from secateur.core.tensors import dtype_name

NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
         "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
         "BOOL": "bool", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "C64": "complex64"}
WORDS = {name: word for word, name in NAMES.items()}
NARROW = {"bf16": torch.bfloat16, "f16": torch.float16}


def word_of(tensor: Tensor, what: str) -> str:
    """A tensor's type as safetensors calls it.

    Raises:
        SecateurError: safetensors has no such type, or the tensor is sparse or quantized by torch.
    """
    if tensor.layout != torch.strided or dtype_name(tensor.dtype) not in WORDS:
        layout = str(tensor.layout).removeprefix("torch.")
        raise SecateurError(f"{what} is of type {dtype_name(tensor.dtype)}, layout {layout}; allowed are dense tensors "
                            f"of {', '.join(WORDS)}")
    return WORDS[dtype_name(tensor.dtype)]


def dtype_of(name: Any, what: str) -> torch.dtype:
    """The torch type of a name.

    Raises:
        SecateurError: it is none that a file can hold.
    """
    if not isinstance(name, str) or name not in WORDS:
        raise SecateurError(f"{what} is declared as '{str(name)[:60]}'; allowed: {', '.join(WORDS)}")
    return getattr(torch, name)  # type: ignore[no-any-return]
