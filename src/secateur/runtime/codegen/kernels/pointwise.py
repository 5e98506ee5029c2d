"""Element-wise operators over whole values: of one, or of two, with an activation behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from secateur.runtime.codegen.ir import I32, I64, VOID, Emit, vector
from secateur.runtime.codegen.isa import Isa
from secateur.runtime.codegen.kernels import activation
from secateur.runtime.codegen.kernels.spmm import add_flag


@dataclass(frozen=True)
class Pointwise:
    """``out = act(a)`` or ``out = act(a + b)``, for ``+`` any of ``add``, ``sub``, ``mul``, ``div``; zeros behind it.

    Words of a step: function, out, values (features times batch rows of a tile), a, b.
    """

    lanes: int
    width: int
    inputs: int
    act: str
    kind: str = "add"

    def text(self, name: str, isa: Isa) -> str:
        """The kernel's IR."""
        del isa
        return _Writer(self, Emit(name)).write()


class _Writer:
    def __init__(self, spec: Pointwise, e: Emit):
        self.spec, self.e = spec, e
        self.step, self.arena, self.part, self.parts = e.args[0], e.args[1], e.args[5], e.args[6]
        self.kind = f"v{spec.lanes}f32.p0"

    def write(self) -> str:
        e, lanes = self.e, self.spec.lanes
        self.out = e.at(self.arena, e.word(self.step, 1))
        self.sources = [e.at(self.arena, e.word(self.step, 3 + k)) for k in range(self.spec.inputs)]
        self.zero = e.const(0.0, lanes)
        self.flag = e.var(self.zero)
        count = e.word(self.step, 2)
        whole = e.b.and_(count, e.i(-lanes))
        with e.loop(e.b.mul(self.part, e.i(lanes)), whole, e.b.mul(self.parts, e.i(lanes))) as index:
            self._one(e.b.mul(index, e.i(4)), None)
        with e.b.if_then(e.b.icmp_signed("==", self.part, e.i(0))):
            self._tail(whole, count)
        add_flag(e, e.at(self.arena, e.b.mul(self.part, e.i(64))), e.get(self.flag))
        return e.finish()

    def _tail(self, whole: Any, count: Any) -> None:
        e, lanes = self.e, self.spec.lanes
        steps = ir.Constant(ir.VectorType(I64, lanes), list(range(lanes)))
        left = e.b.sub(count, whole)
        with e.b.if_then(e.b.icmp_signed(">", left, e.i(0))):
            self._one(e.b.mul(whole, e.i(4)), e.b.icmp_signed("<", steps, e.splat(left, lanes)))
        behind = e.at(self.out, e.b.mul(count, e.i(4)))
        for offset in range(0, self.spec.width * 4, 4):
            e.store(ir.Constant(ir.FloatType(), 0.0), e.at(behind, offset))

    def _one(self, offset: Any, mask: Any) -> None:
        e, lanes = self.e, self.spec.lanes
        places = [e.at(source, offset) for source in self.sources]
        if mask is None:
            values = [e.load(place, vector(lanes)) for place in places]
        else:
            rest = e.const(1.0, lanes)
            values = [e.call(f"llvm.masked.load.{self.kind}", vector(lanes), [p, ir.Constant(I32, 4), mask, rest])
                      for p in places]
        value = values[0] if len(values) == 1 else combine(e, self.spec.kind, *values)
        e.set(self.flag, e.fma(value, self.zero, e.get(self.flag)))
        value = activation.emit(e, self.spec.act, value)
        if mask is None:
            e.store(value, e.at(self.out, offset))
        else:
            e.call(f"llvm.masked.store.{self.kind}", VOID, [value, e.at(self.out, offset), ir.Constant(I32, 4), mask])


def combine(e: Emit, kind: str, first: Any, second: Any) -> Any:
    """The sum, difference, product or quotient of two values."""
    return getattr(e.b, f"f{kind}")(first, second)
