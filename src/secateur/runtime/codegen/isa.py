"""Instruction sets that kernels are generated for, and what this machine can run."""

from __future__ import annotations

import functools
import os
import platform
from dataclasses import dataclass

from secateur.core.errors import SecateurError, unknown

VARIABLE = "SECATEUR_ISA"


@dataclass(frozen=True)
class Isa:
    """One instruction set: how LLVM names it, how many f32 lanes a register has, how many registers there are."""

    name: str
    arch: str
    cpu: str
    needs: tuple[str, ...]
    lanes: int
    registers: int

    @property
    def features(self) -> str:
        """The features as LLVM takes them."""
        return ",".join(f"+{name}" for name in self.needs)


_AVX2 = ("avx2", "fma", "bmi", "bmi2", "f16c")
_AVX512 = (*_AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd")

ISAS = {
    "avx512": Isa("avx512", "x86_64", "x86-64-v4", _AVX512, 16, 32),
    "avx2": Isa("avx2", "x86_64", "x86-64-v3", _AVX2, 8, 16),
    "neon": Isa("neon", "aarch64", "generic", ("neon",), 4, 32),
}


def architecture() -> str:
    """The machine's architecture, as LLVM names it."""
    names = {"amd64": "x86_64", "arm64": "aarch64"}
    machine = platform.machine().lower()
    return names.get(machine, machine)


@functools.cache
def available() -> tuple[str, ...]:
    """The instruction sets that this machine can execute, best first; empty without llvmlite."""
    try:
        from llvmlite import binding
    except ImportError:
        return ()
    if architecture() == "aarch64":
        return ("neon",)
    features = binding.get_host_cpu_features()
    return tuple(name for name, isa in ISAS.items()
                 if isa.arch == architecture() and all(features.get(need, False) for need in isa.needs))


def pick(name: str | None = None) -> Isa | None:
    """The instruction set to use: the asked one, the one in ``SECATEUR_ISA``, or the best; None if there is none.

    Raises:
        SecateurError: an unknown name, or one that this machine cannot execute.
    """
    asked = name or os.environ.get(VARIABLE) or None
    if asked is None:
        return ISAS[available()[0]] if available() else None
    if asked not in ISAS:
        raise unknown("instruction set", asked, ISAS)
    if asked not in available():
        raise SecateurError(f"instruction set '{asked}': this machine cannot execute it; "
                            f"allowed here: {', '.join(available()) or 'none'}")
    return ISAS[asked]
