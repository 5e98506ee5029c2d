"""Element-wise functions on vectors of f32: the epilogues of other kernels, and kernels by themselves.

A name may carry a number: ``leaky_relu:0.01``. NaN stays NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from secateur.runtime.codegen.ir import I32, Emit


def emit(e: Emit, name: str, x: Any) -> Any:
    """The activation of a vector."""
    kind, _, number = name.partition(":")
    return _FUNCTIONS[kind](_Math(e, x.type.count), x, float(number or 0))


def exp(e: Emit, x: Any) -> Any:
    """The exponential of a vector."""
    return _Math(e, x.type.count).exp(x)


class _Math:
    """Arithmetic on vectors, constants spread."""

    def __init__(self, e: Emit, lanes: int):
        self.e, self.b, self.lanes = e, e.b, lanes

    def c(self, value: float) -> Any:
        """A constant in every lane."""
        return self.e.const(value, self.lanes)

    def at_most(self, x: Any, bound: float) -> Any:
        return self.b.select(self.b.fcmp_ordered(">", x, self.c(bound)), self.c(bound), x)

    def at_least(self, x: Any, bound: float) -> Any:
        return self.b.select(self.b.fcmp_ordered("<", x, self.c(bound)), self.c(bound), x)

    def poly(self, x: Any, factors: Sequence[float]) -> Any:
        """Horner's rule, the highest power first."""
        value = self.c(factors[0])
        for factor in factors[1:]:
            value = self.e.fma(value, x, self.c(factor))
        return value

    def absolute(self, x: Any) -> Any:
        return self.e.call(f"llvm.fabs.v{self.lanes}f32", x.type, [x])

    def exp(self, x: Any) -> Any:
        """``exp`` by a power of two and a polynomial for the rest; clamped below -87, infinite above 88.7."""
        over = self.b.fcmp_ordered(">", x, self.c(88.7))
        x = self.at_most(self.at_least(x, -87.0), 88.0)
        power = self.e.call(f"llvm.rint.v{self.lanes}f32", x.type, [self.b.fmul(x, self.c(math.log2(math.e)))])
        # ln 2 in two parts: the first has nine bits, so its product with the power is exact.
        rest = self.e.fma(power, self.c(-0.693359375), x)
        rest = self.e.fma(power, self.c(2.12194440e-4), rest)
        tail = self.poly(rest, (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
                                0.5))
        value = self.b.fadd(self.e.fma(tail, self.b.fmul(rest, rest), rest), self.c(1.0))
        # The power of two goes into the exponent's bits, which begin at bit 23.
        whole = ir.VectorType(I32, self.lanes)
        shift = self.b.shl(self.b.fptosi(power, whole), ir.Constant(whole, [23] * self.lanes))
        found = self.b.bitcast(self.b.add(self.b.bitcast(value, whole), shift), x.type)
        return self.b.select(over, self.c(math.inf), found)

    def sigmoid(self, x: Any) -> Any:
        return self.b.fdiv(self.c(1.0), self.b.fadd(self.c(1.0), self.exp(self.b.fsub(self.c(-0.0), x))))

    def tanh(self, x: Any) -> Any:
        size = self.absolute(x)
        grown = self.exp(self.b.fadd(size, size))
        far = self.b.fsub(self.c(1.0), self.b.fdiv(self.c(2.0), self.b.fadd(grown, self.c(1.0))))
        far = self.e.call(f"llvm.copysign.v{self.lanes}f32", x.type, [far, x])
        # Near zero the difference above cancels; there a polynomial is accurate.
        square = self.b.fmul(x, x)
        near = self.poly(square, (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1,
                                  -3.33332819422e-1))
        near = self.e.fma(self.b.fmul(near, square), x, x)
        return self.b.select(self.b.fcmp_ordered("<", size, self.c(0.625)), near, far)

    def erf(self, x: Any) -> Any:
        # Beyond these bounds erf is 1 or -1 in f32.
        x = self.at_most(self.at_least(x, -3.832506856900711), 3.832506856900711)
        square = self.b.fmul(x, x)
        top = self.poly(square, (0.00022905065861350646, 0.0034082910107109506, 0.050955695062380861,
                                 0.18520832239976145, 1.128379143519084))
        bottom = self.poly(square, (-1.1791602954361697e-7, 0.000023547966471313185, 0.0010179625278914885,
                                    0.014070470171167667, 0.11098505178285362, 0.49746925110067538, 1.0))
        return self.b.fdiv(self.b.fmul(x, top), bottom)


def _gelu(m: _Math, x: Any, _: float) -> Any:
    half = m.b.fmul(x, m.c(0.5))
    return m.e.fma(half, m.erf(m.b.fmul(x, m.c(math.sqrt(0.5)))), half)


def _gelu_tanh(m: _Math, x: Any, _: float) -> Any:
    cube = m.b.fmul(m.b.fmul(x, x), x)
    inner = m.b.fmul(m.e.fma(cube, m.c(0.044715), x), m.c(math.sqrt(2 / math.pi)))
    half = m.b.fmul(x, m.c(0.5))
    return m.e.fma(half, m.tanh(inner), half)


def _hard(m: _Math, x: Any) -> Any:
    """Six times the hard sigmoid."""
    return m.at_most(m.at_least(m.b.fadd(x, m.c(3.0)), 0.0), 6.0)


_FUNCTIONS: dict[str, Callable[[_Math, Any, float], Any]] = {
    "none": lambda _m, x, _: x,
    "relu": lambda m, x, _: m.at_least(x, 0.0),
    "relu6": lambda m, x, _: m.at_most(m.at_least(x, 0.0), 6.0),
    "leaky_relu": lambda m, x, slope: m.b.select(m.b.fcmp_ordered("<", x, m.c(0.0)), m.b.fmul(x, m.c(slope)), x),
    "sigmoid": lambda m, x, _: m.sigmoid(x),
    "silu": lambda m, x, _: m.b.fmul(x, m.sigmoid(x)),
    "tanh": lambda m, x, _: m.tanh(x),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "hardsigmoid": lambda m, x, _: m.b.fmul(_hard(m, x), m.c(1 / 6)),
    "hardswish": lambda m, x, _: m.b.fmul(m.b.fmul(x, _hard(m, x)), m.c(1 / 6)),
}
