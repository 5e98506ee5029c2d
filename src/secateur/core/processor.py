"""What the processor computes in fewer bits, as the operating system or torch tells it."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path

import torch

_INFO = Path("/proc/cpuinfo")
_VNNI = {"avx512_vnni", "avx_vnni"}
_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}
_X86 = {"x86_64", "amd64", "i386", "i686"}


def is_x86() -> bool:
    """Whether the processor is one of Intel's and AMD's family."""
    return platform.machine().lower() in _X86


def overflows_int8() -> bool:
    """Whether sums of int8 products may overflow: on x86 without VNNI, where two products are added in 16 bits.

    VNNI (``avx512_vnni``, ``avx_vnni``) adds four products in 32 bits, and ARM's instructions lose nothing either.
    """
    return is_x86() and not (_VNNI & flags())


def has_bf16() -> bool:
    """Whether the processor has instructions for bfloat16; without them it is slower than float32."""
    return bool(_BF16 & flags())


@lru_cache(maxsize=1)
def flags() -> frozenset[str]:
    """The processor's instructions by Linux's names; elsewhere those of 8 and 16 bits that torch knows of."""
    lines = _INFO.read_text().splitlines() if _INFO.exists() else []
    told = next((line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))), "")
    if told:
        return frozenset(told.split())
    asked = {"avx512_vnni": "_is_vnni_supported", "avx512_bf16": "_is_avx512_bf16_supported"}
    return frozenset(name for name, function in asked.items() if getattr(torch.cpu, function, bool)())
