"""Element-wise operators over whole values, of one input or two, followed by an activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from secateur.runtime.codegen.ir import Emit
from secateur.runtime.codegen.kernels import activation
from secateur.runtime.codegen.kernels.base import Kernel, KernelWriter


class _Writer(KernelWriter):
    spec: Pointwise

    def write(self) -> str:
        e, lanes = self.e, self.spec.lanes
        self.out, *self.sources = (self.place(k) for k in (1, *range(3, 3 + self.spec.inputs)))
        self.start_flag(lanes)
        count = self.word(2)
        whole = e.b.and_(count, e.i(-lanes))
        with e.loop(e.times(self.part, lanes), whole, e.times(self.parts, lanes)) as index:
            self._register(e.times(index, 4), None)
        with self.first_part():
            self._tail(whole, count)
        return self.finish()

    def _tail(self, whole: Any, count: Any) -> None:
        """The values that do not fill a register, and the zeros behind them."""
        e, lanes = self.e, self.spec.lanes
        left = e.b.sub(count, whole)
        with e.b.if_then(e.b.icmp_signed(">", left, e.i(0))):
            self._register(e.times(whole, 4), e.lanes_below(left, lanes))
        behind = e.at(self.out, e.times(count, 4))
        for offset in range(0, self.spec.width * 4, 4):
            e.store(e.scalar(0.0), e.at(behind, offset))

    def _register(self, offset: Any, mask: Any) -> None:
        e, lanes = self.e, self.spec.lanes
        # Ones in the lanes past the end: a quotient of zeros there would raise the flag.
        values = [e.read(e.at(source, offset), lanes, mask, e.const(1.0, lanes)) for source in self.sources]
        value = values[0] if len(values) == 1 else combine(e, self.spec.kind, *values)
        self.check(value)
        e.store(activation.emit(e, self.spec.act, value), e.at(self.out, offset), mask)


def combine(e: Emit, kind: str, first: Any, second: Any) -> Any:
    """The sum, difference, product or quotient of two values."""
    return getattr(e.b, f"f{kind}")(first, second)


@dataclass(frozen=True)
class Pointwise(Kernel):
    """``out = act(a)`` or ``out = act(a + b)``, for ``+`` any of ``add``, ``sub``, ``mul``, ``div``; zeros behind it.

    Words of a step: function, out, values (features times batch rows of a tile), a, b.
    """

    lanes: int
    width: int
    inputs: int
    act: str
    kind: str = "add"

    writer = _Writer
