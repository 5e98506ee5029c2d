"""A fixed factor and offset for every plane or feature, with an activation behind: batch norm by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from secateur.runtime.codegen.ir import F32, Emit
from secateur.runtime.codegen.isa import Isa
from secateur.runtime.codegen.kernels import activation
from secateur.runtime.codegen.kernels.planes import put, registers, take, zeros_behind
from secateur.runtime.codegen.kernels.spmm import add_flag


@dataclass(frozen=True)
class Scale:
    """``out = act(in * factor[plane] + offset[plane])`` on values whose rows may lie apart.

    Words of a step: function, out, planes, rows, bytes a row, bytes between planes and rows of out, place of
    the ``tiles`` registers of zeros behind the output (or 0), in, bytes between planes and rows of in,
    factors, offsets.
    """

    lanes: int
    tiles: int
    act: str
    ragged: bool = False

    def text(self, name: str, isa: Isa) -> str:
        """The kernel's IR."""
        del isa
        return _Writer(self, Emit(name)).write()


class _Writer:
    def __init__(self, spec: Scale, e: Emit):
        self.spec, self.e = spec, e
        self.word = [e.word(e.args[0], k) for k in range(11)]
        self.factors, self.offsets = e.pointer(e.args[0], 11), e.pointer(e.args[0], 12)

    def write(self) -> str:
        e, word, lanes = self.e, self.word, self.spec.lanes
        zero = e.const(0.0, lanes)
        flag = e.var(zero)
        with e.loop(e.args[5], word[2], e.args[6]) as plane:
            place = e.b.mul(plane, e.i(4))
            factor, offset = (e.splat(e.load(e.at(base, place), F32), lanes) for base in (self.factors, self.offsets))
            with e.loop(0, word[3]) as row:
                source, out = (e.at(e.args[1], e.b.add(word[k], e.b.add(
                    e.b.mul(plane, word[k + 1 + at]), e.b.mul(row, word[k + 2 + at])))) for k, at in ((8, 0), (1, 3)))

                def register(step: Any, mask: Any, source: Any = source, out: Any = out, factor: Any = factor,
                             offset: Any = offset) -> None:
                    value = e.fma(take(e, e.at(source, step), lanes, mask), factor, offset)
                    e.set(flag, e.fma(value, zero, e.get(flag)))
                    put(e, activation.emit(e, self.spec.act, value), e.at(out, step), mask)

                registers(e, word[4], lanes, self.spec.ragged, register)
        zeros_behind(e, word[7], lanes, self.spec.tiles)
        add_flag(e, self._slot(), e.get(flag))
        return e.finish()

    def _slot(self) -> Any:
        e = self.e
        return e.at(e.args[1], e.b.mul(e.args[5], e.i(64)))
