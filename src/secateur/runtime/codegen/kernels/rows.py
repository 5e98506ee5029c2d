"""Operators that look at all features of a row: layer norm and softmax.

In a tile each lane is a row of its own, so both go down the features register by register. A tile of one
row has its features side by side; there the lanes are features, and what they find is joined at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from secateur.runtime.codegen.ir import F32, vector
from secateur.runtime.codegen.kernels import activation
from secateur.runtime.codegen.kernels.base import Kernel, KernelWriter

_SUMS = 4
"""Sums kept at once (loop unrolling), so that additions do not wait for each other."""


_Body = Callable[[int, "_Feature"], None]


@dataclass(frozen=True)
class _Feature:
    """One feature of as many rows as a register has lanes, or as many features of one row; ``mask`` at its end."""

    index: Any
    mask: Any = None


class _Writer(KernelWriter):
    """What both share: the walk over features, loads and stores."""

    spec: LayerNorm | Softmax

    def write(self) -> str:
        """The whole kernel."""
        e, spec = self.e, self.spec
        self.flat = spec.width == 1
        self.source, self.target = self.place(1), self.place(2)
        self.features = self.word(3)
        self.start_flag(spec.lanes)
        columns = 1 if self.flat else spec.width // spec.lanes
        with e.loop(self.part, columns, self.parts) as column:
            self.shift = e.times(column, spec.lanes * 4)
            self.row()
        self.zeros_behind(self.word(4), 1 if self.flat else spec.lanes, columns)
        return self.finish()

    def row(self) -> None:
        """All features of one register of rows."""
        raise NotImplementedError

    def each(self, body: _Body) -> None:
        """Go over the features; ``body`` gets the number of the sum to use, and the place."""
        e, lanes = self.e, self.spec.lanes
        step = lanes if self.flat else 1
        block = _SUMS * step
        whole = e.b.mul(e.b.sdiv(self.features, e.i(block)), e.i(block))
        with e.loop(0, whole, block) as index:
            for k in range(_SUMS):
                body(k, _Feature(e.b.add(index, e.i(k * step))))
        if not self.flat:
            with e.loop(whole, self.features) as index:
                body(0, _Feature(index))
            return
        with e.loop(whole, self.features, lanes) as index:
            body(0, _Feature(index, e.lanes_below(e.b.sub(self.features, index), lanes)))

    def _place(self, base: Any, feature: _Feature) -> Any:
        e = self.e
        offset = e.times(feature.index, 4 if self.flat else self.spec.width * 4)
        return e.at(base, offset if self.flat else e.b.add(offset, self.shift))

    def load(self, feature: _Feature, rest: Any, base: Any = None) -> Any:
        """The values of a feature; ``rest`` in lanes past the end."""
        place = self._place(self.source if base is None else base, feature)
        return self.e.read(place, self.spec.lanes, feature.mask, rest)

    def store(self, feature: _Feature, value: Any) -> None:
        """Write the values of a feature."""
        self.e.store(value, self._place(self.target, feature), feature.mask)

    def constant(self, word: int, feature: _Feature) -> Any:
        """The fixed number of a feature, for every lane."""
        e, lanes = self.e, self.spec.lanes
        place = e.at(e.pointer(self.step, word), e.times(feature.index, 4))
        return e.read(place, lanes, feature.mask, self.zero) if self.flat else e.splat(e.load(place, F32), lanes)

    def reduce(self, start: Any, join: Callable[[Any, Any], Any], value: Callable[[_Feature], Any]) -> Any:
        """``value(feature)`` of all features, joined with ``start`` and with each other."""
        parts = [self.e.var(start) for _ in range(_SUMS)]
        self.each(lambda k, at: self.e.set(parts[k], join(self.e.get(parts[k]), value(at))))
        return self.total(parts, join)

    def total(self, parts: list[Any], join: Callable[[Any, Any], Any]) -> Any:
        """Several sums as one; in a tile of one row also over the lanes."""
        value = self.e.get(parts[0])
        for part in parts[1:]:
            value = join(value, self.e.get(part))
        size = self.spec.lanes // 2 if self.flat else 0
        while size:
            value = join(value, self.e.shuffle(value, value, [k ^ size for k in range(self.spec.lanes)]))
            size //= 2
        return value


class _NormWriter(_Writer):
    spec: LayerNorm

    def row(self) -> None:
        e, b = self.e, self.e.b
        count = e.splat(b.sitofp(self.features, F32), self.spec.lanes)
        about = b.fdiv(self.reduce(self.zero, b.fadd, lambda at: self.load(at, self.zero)), count)
        mean, variance = self._moments(about, count)
        root = e.call(f"llvm.sqrt.v{self.spec.lanes}f32", vector(self.spec.lanes),
                      [b.fadd(variance, e.const(self.spec.eps, self.spec.lanes))])
        self.check(variance)
        factor = b.fdiv(e.const(1.0, self.spec.lanes), root)
        self.each(lambda _, at: self._finish(at, mean, factor))

    def _moments(self, about: Any, count: Any) -> tuple[Any, Any]:
        """Mean and variance from the deviations from a first mean."""
        e, b = self.e, self.e.b
        firsts, seconds = ([e.var(self.zero) for _ in range(_SUMS)] for _ in range(2))

        def deviate(k: int, at: _Feature) -> None:
            apart = b.fsub(self.load(at, about), about)
            e.set(firsts[k], b.fadd(e.get(firsts[k]), apart))
            e.set(seconds[k], e.fma(apart, apart, e.get(seconds[k])))

        self.each(deviate)
        first, second = (b.fdiv(self.total(parts, b.fadd), count) for parts in (firsts, seconds))
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
    spec: Softmax

    def row(self) -> None:
        e, b, lanes = self.e, self.e.b, self.spec.lanes
        least = e.const(float("-inf"), lanes)
        top = self.reduce(least, self._larger, lambda at: self.load(at, least))
        sums = [e.var(self.zero) for _ in range(_SUMS)]

        def power(k: int, at: _Feature) -> None:
            value = activation.exp(e, b.fsub(self.load(at, least), top))
            e.set(sums[k], b.fadd(e.get(sums[k]), value))
            self.store(at, value)

        self.each(power)
        factor = b.fdiv(e.const(1.0, lanes), self.total(sums, b.fadd))
        self.each(lambda _, at: self.store(at, b.fmul(self.load(at, self.zero, self.target), factor)))

    def _larger(self, first: Any, second: Any) -> Any:
        return self.e.b.select(self.e.b.fcmp_ordered(">", first, second), first, second)


@dataclass(frozen=True)
class LayerNorm(Kernel):
    """``out = (in - mean) / sqrt(variance + eps) * scale + shift`` over the features of each row.

    The mean is corrected by what the deviations from it sum to. Words of a step: function, in, out,
    features, place of the zeros behind the output (or 0), scale, shift. ``width`` 1: lanes are features.
    """

    lanes: int
    width: int
    eps: float
    scale: bool
    shift: bool

    writer = _NormWriter


@dataclass(frozen=True)
class Softmax(Kernel):
    """``out = exp(in - most) / sum(exp(in - most))`` over the features of each row.

    Words of a step: function, in, out, features, place of the zeros behind the output (or 0).
    """

    lanes: int
    width: int

    writer = _SoftmaxWriter
