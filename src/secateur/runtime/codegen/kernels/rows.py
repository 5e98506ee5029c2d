"""Operators that look at all features of a row: layer norm and softmax.

In a tile each lane is a row of its own, so both go down the features register by register. A tile of one
row has its features side by side; there the lanes are features, and what they find is joined at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from secateur.runtime.codegen.ir import F32, I32, I64, VOID, Emit, vector
from secateur.runtime.codegen.isa import Isa
from secateur.runtime.codegen.kernels import activation
from secateur.runtime.codegen.kernels.planes import zeros_behind
from secateur.runtime.codegen.kernels.spmm import add_flag

SUMS = 4
"""How many sums are kept at once, so that they do not wait for each other."""


@dataclass(frozen=True)
class Norm:
    """``out = (in - mean) / sqrt(variance + eps) * scale + shift`` over the features of each row.

    The mean is corrected by what the deviations from it sum to. Words of a step: function, in, out,
    features, place of the zeros behind the output (or 0), scale, shift. ``width`` 1: lanes are features.
    """

    lanes: int
    width: int
    eps: float
    scale: bool
    shift: bool

    def text(self, name: str, isa: Isa) -> str:
        """The kernel's IR."""
        del isa
        return _NormWriter(self, Emit(name)).write()


@dataclass(frozen=True)
class Softmax:
    """``out = exp(in - most) / sum(exp(in - most))`` over the features of each row.

    Words of a step: function, in, out, features, place of the zeros behind the output (or 0).
    """

    lanes: int
    width: int

    def text(self, name: str, isa: Isa) -> str:
        """The kernel's IR."""
        del isa
        return _SoftmaxWriter(self, Emit(name)).write()


Body = Callable[[int, "_Feature"], None]


@dataclass(frozen=True)
class _Feature:
    """One feature of as many rows as a register has lanes, or as many features of one row; ``mask`` at its end."""

    index: Any
    mask: Any = None


class _Writer:
    """What both share: the walk over features, loads and stores."""

    def __init__(self, spec: Any, e: Emit):
        self.spec, self.e, self.flat = spec, e, spec.width == 1
        self.source, self.target = (e.at(e.args[1], e.word(e.args[0], k)) for k in (1, 2))
        self.features = e.word(e.args[0], 3)
        self.kind = vector(spec.lanes)
        self.zero = e.const(0.0, spec.lanes)
        self.flag = e.var(self.zero)

    def write(self) -> str:
        """The whole kernel."""
        e, spec = self.e, self.spec
        columns = 1 if self.flat else spec.width // spec.lanes
        with e.loop(e.args[5], columns, e.args[6]) as column:
            self.shift = e.b.mul(column, e.i(spec.lanes * 4))
            self.row()
        zeros_behind(e, e.word(e.args[0], 4), 1 if self.flat else spec.lanes, columns)
        add_flag(e, e.at(e.args[1], e.b.mul(e.args[5], e.i(64))), e.get(self.flag))
        return e.finish()

    def row(self) -> None:
        """All features of one register of rows."""
        raise NotImplementedError

    def each(self, body: Body) -> None:
        """Go over the features; ``body`` gets the number of the sum to use, and the place."""
        e, lanes = self.e, self.spec.lanes
        step = lanes if self.flat else 1
        block = SUMS * step
        whole = e.b.mul(e.b.sdiv(self.features, e.i(block)), e.i(block))
        with e.loop(0, whole, block) as index:
            for k in range(SUMS):
                body(k, _Feature(e.b.add(index, e.i(k * step))))
        if not self.flat:
            with e.loop(whole, self.features) as index:
                body(0, _Feature(index))
            return
        with e.loop(whole, self.features, lanes) as index:
            steps = ir.Constant(ir.VectorType(I64, lanes), list(range(lanes)))
            left = e.b.sub(self.features, index)
            body(0, _Feature(index, e.b.icmp_signed("<", steps, e.splat(left, lanes))))

    def _place(self, base: Any, feature: _Feature) -> Any:
        e = self.e
        offset = e.b.mul(feature.index, e.i(4 if self.flat else self.spec.width * 4))
        return e.at(base, offset if self.flat else e.b.add(offset, self.shift))

    def load(self, feature: _Feature, rest: Any, base: Any = None) -> Any:
        """The values of a feature; ``rest`` in lanes past the end."""
        return self._read(self._place(self.source if base is None else base, feature), feature, rest)

    def _read(self, place: Any, feature: _Feature, rest: Any) -> Any:
        e, lanes = self.e, self.spec.lanes
        if feature.mask is None:
            return e.load(place, self.kind)
        return e.call(f"llvm.masked.load.v{lanes}f32.p0", self.kind, [place, ir.Constant(I32, 4), feature.mask, rest])

    def store(self, feature: _Feature, value: Any) -> None:
        """Write the values of a feature, and look for NaN and infinity."""
        e, place = self.e, self._place(self.target, feature)
        if feature.mask is None:
            return e.store(value, place)
        e.call(f"llvm.masked.store.v{self.spec.lanes}f32.p0", VOID, [value, place, ir.Constant(I32, 4), feature.mask])
        return None

    def constant(self, word: int, feature: _Feature) -> Any:
        """The fixed number of a feature, for every lane."""
        e = self.e
        place = e.at(e.pointer(e.args[0], word), e.b.mul(feature.index, e.i(4)))
        return self._read(place, feature, self.zero) if self.flat else e.splat(e.load(place, F32), self.spec.lanes)

    def joined(self, parts: list[Any], join: Callable[[Any, Any], Any]) -> Any:
        """Several sums as one; of one row also over the lanes."""
        value = self.e.get(parts[0])
        for part in parts[1:]:
            value = join(value, self.e.get(part))
        size = self.spec.lanes // 2 if self.flat else 0
        while size:
            value = join(value, self.e.shuffle(value, value, [k ^ size for k in range(self.spec.lanes)]))
            size //= 2
        return value

    def check(self, value: Any) -> None:
        """Raise the flag where a value is NaN or infinite."""
        self.e.set(self.flag, self.e.fma(value, self.zero, self.e.get(self.flag)))


class _NormWriter(_Writer):
    def row(self) -> None:
        e, b = self.e, self.e.b
        count = e.splat(b.sitofp(self.features, F32), self.spec.lanes)
        sums = [e.var(self.zero) for _ in range(SUMS)]
        self.each(lambda k, at: e.set(sums[k], b.fadd(e.get(sums[k]), self.load(at, self.zero))))
        about = b.fdiv(self.joined(sums, b.fadd), count)
        mean, variance = self._moments(about, count)
        root = e.call(f"llvm.sqrt.v{self.spec.lanes}f32", self.kind,
                      [b.fadd(variance, e.const(self.spec.eps, self.spec.lanes))])
        self.check(variance)
        factor = b.fdiv(e.const(1.0, self.spec.lanes), root)
        self.each(lambda _, at: self._finish(at, mean, factor))

    def _moments(self, about: Any, count: Any) -> tuple[Any, Any]:
        """Mean and variance from the deviations from a first mean."""
        e, b = self.e, self.e.b
        firsts, seconds = ([e.var(self.zero) for _ in range(SUMS)] for _ in range(2))

        def deviate(k: int, at: _Feature) -> None:
            apart = b.fsub(self.load(at, about), about)
            e.set(firsts[k], b.fadd(e.get(firsts[k]), apart))
            e.set(seconds[k], e.fma(apart, apart, e.get(seconds[k])))

        self.each(deviate)
        first, second = (b.fdiv(self.joined(parts, b.fadd), count) for parts in (firsts, seconds))
        return b.fadd(about, first), b.fsub(second, b.fmul(first, first))

    def _finish(self, at: _Feature, mean: Any, factor: Any) -> None:
        e, b, spec = self.e, self.e.b, self.spec
        value = b.fmul(b.fsub(self.load(at, mean), mean), factor)
        shift = self.constant(6, at) if spec.shift else self.zero
        if spec.scale:
            value = e.fma(value, self.constant(5, at), shift)
        elif spec.shift:
            value = b.fadd(value, shift)
        self.check(value)
        self.store(at, value)


class _SoftmaxWriter(_Writer):
    def row(self) -> None:
        e, b, lanes = self.e, self.e.b, self.spec.lanes
        least = e.const(float("-inf"), lanes)
        tops = [e.var(least) for _ in range(SUMS)]
        self.each(lambda k, at: e.set(tops[k], self._larger(e.get(tops[k]), self.load(at, least))))
        top = self.joined(tops, self._larger)
        sums = [e.var(self.zero) for _ in range(SUMS)]

        def power(k: int, at: _Feature) -> None:
            value = activation.exp(e, b.fsub(self.load(at, least), top))
            e.set(sums[k], b.fadd(e.get(sums[k]), value))
            self.store(at, value)

        self.each(power)
        factor = b.fdiv(e.const(1.0, lanes), self.joined(sums, b.fadd))
        self.each(lambda _, at: self.store(at, b.fmul(self.load(at, self.zero, self.target), factor)))

    def _larger(self, first: Any, second: Any) -> Any:
        return self.e.b.select(self.e.b.fcmp_ordered(">", first, second), first, second)
