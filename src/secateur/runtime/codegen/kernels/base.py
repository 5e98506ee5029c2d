"""What every kernel shares: its parameters as a value, and the writer of its function."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

from secateur.runtime.codegen.ir import Emit
from secateur.runtime.codegen.isa import Isa

FLAG_BYTES = 64
"""Bytes of a thread's flag at the start of the arena: a cache line each, so that threads do not share one."""


class KernelWriter:
    """Writes a kernel's function: names its arguments, and keeps the flag for NaN and infinity."""

    def __init__(self, spec: Any, name: str, isa: Isa):
        self.spec, self.e, self.isa = spec, Emit(name), isa
        self.step, self.arena, self.external, self.first, self.valid, self.part, self.parts = self.e.args

    def write(self) -> str:
        """Write the whole function; returns its IR."""
        raise NotImplementedError

    def word(self, index: int) -> Any:
        """A word of the step, as a 64-bit integer."""
        return self.e.word(self.step, index)

    def place(self, index: int) -> Any:
        """The place in the arena that a word of the step gives."""
        return self.e.at(self.arena, self.word(index))

    def start_flag(self, lanes: int) -> None:
        """Begin to look for NaN and infinity in vectors of ``lanes`` values."""
        self.zero = self.e.const(0.0, lanes)
        self.flag = self.e.var(self.zero)

    def check(self, value: Any) -> None:
        """Add ``value * 0`` to the flag: NaN where a value is NaN or infinite, and no branch."""
        self.e.set(self.flag, self.e.fma(value, self.zero, self.e.get(self.flag)))

    def finish(self) -> str:
        """Add the flag to this thread's in the arena, and close the function; returns its IR."""
        e = self.e
        add_flag(e, e.at(self.arena, e.times(self.part, FLAG_BYTES)), e.get(self.flag))
        return e.finish()

    @contextlib.contextmanager
    def first_part(self) -> Iterator[None]:
        """What the first thread alone does."""
        with self.e.b.if_then(self.e.b.icmp_signed("==", self.part, self.e.i(0))):
            yield

    def zeros_behind(self, place: Any, lanes: int, tiles: int = 1) -> None:
        """Store ``tiles`` registers of zeros at a place of the arena, unless it is 0; the first part alone does it."""
        e = self.e
        wanted = e.b.and_(e.b.icmp_signed("!=", place, e.i(0)), e.b.icmp_signed("==", self.part, e.i(0)))
        with e.b.if_then(wanted):
            for tile in range(tiles):
                e.store(e.const(0.0, lanes), e.at(e.at(self.arena, place), tile * lanes * 4))


class Kernel:
    """A kernel by its parameters.

    A subclass is a frozen dataclass with a field for everything that its code depends on: its ``repr`` is a part of
    the key under which its object code is kept. ``writer`` writes its function.
    """

    writer: ClassVar[type[KernelWriter]]

    def text(self, name: str, isa: Isa) -> str:
        """The kernel's LLVM IR, a module with one function of this name."""
        return self.writer(self, name, isa).write()


def add_flag(e: Emit, slot: Any, value: Any) -> None:
    """Add a vector to a flag in the arena, which is NaN once any value was NaN or infinite."""
    e.store(e.b.fadd(e.load(slot, value.type), value), slot)
