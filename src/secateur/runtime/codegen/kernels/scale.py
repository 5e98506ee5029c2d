"""A fixed factor and offset for every plane or feature, followed by an activation: batch norm by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from secateur.runtime.codegen.ir import F32
from secateur.runtime.codegen.kernels import activation
from secateur.runtime.codegen.kernels.base import Kernel
from secateur.runtime.codegen.kernels.planes import PlaneWriter


class _Writer(PlaneWriter):
    spec: Scale

    def write(self) -> str:
        e, lanes = self.e, self.spec.lanes
        words = [self.word(k) for k in range(11)]
        factors, offsets = e.pointer(self.step, 11), e.pointer(self.step, 12)
        self.start_flag(lanes)
        with e.loop(self.part, words[2], self.parts) as plane:
            place = e.times(plane, 4)
            factor, offset = (e.splat(e.load(e.at(base, place), F32), lanes) for base in (factors, offsets))
            with e.loop(0, words[3]) as row:
                source, out = (self.row(words[k], words[stride:], plane, row) for k, stride in ((8, 9), (1, 5)))

                def register(step: Any, mask: Any, source: Any = source, out: Any = out, factor: Any = factor,
                             offset: Any = offset) -> None:
                    value = e.fma(self.load(e.at(source, step), mask), factor, offset)
                    self.check(value)
                    e.store(activation.emit(e, self.spec.act, value), e.at(out, step), mask)

                self.registers(words[4], register)
        self.zeros_behind(words[7], lanes, self.spec.tiles)
        return self.finish()


@dataclass(frozen=True)
class Scale(Kernel):
    """``out = act(in * factor[plane] + offset[plane])`` on values whose rows may lie apart.

    Words of a step: function, out, planes, rows, bytes a row, bytes between planes and rows of out, place of
    the ``tiles`` registers of zeros behind the output (or 0), in, bytes between planes and rows of in,
    factors, offsets.
    """

    lanes: int
    tiles: int
    act: str
    ragged: bool = False

    writer = _Writer
