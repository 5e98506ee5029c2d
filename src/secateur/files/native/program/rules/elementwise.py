"""Operators that compute each value from the values in its place, with broadcasting."""

from __future__ import annotations

from typing import Any

import torch

from secateur.files.native.program.rules.base import (
    Spec,
    as_float,
    broadcast,
    floating,
    is_number,
    need,
    promoted,
    rule,
)

_WORDS = (None, "floor", "trunc")


@rule("neg positive conj_physical alias detach lift_fresh_copy")
def same(x: Spec) -> Spec:
    """One tensor in, its twin out."""
    return x


@rule("square")
def square(x: Spec) -> Spec:
    """The square of numbers."""
    need(x.dtype != torch.bool, "truth values have no square")
    return x


@rule("""abs ceil floor trunc round frac sgn sign relu relu6 bitwise_not selu silu mish hardswish hardsigmoid
      log_sigmoid nan_to_num""")
def ordered(x: Spec, *_: Any) -> Spec:
    """The same for numbers that have an order."""
    need(not x.dtype.is_complex, "complex numbers have no order")
    return x


@rule("clone contiguous")
def copied(x: Spec, memory_format: Any = None) -> Spec:
    """A copy; another order of the axes in memory needs as many axes as it names."""
    axes = {torch.channels_last: 4, torch.channels_last_3d: 5}.get(memory_format, len(x.shape))
    need(axes == len(x.shape), f"a tensor of {len(x.shape)} axes has no layout {memory_format}")
    return x


@rule("gelu")
def gelu(x: Spec, approximate: str) -> Spec:
    """GELU and its approximation."""
    need(approximate in ("none", "tanh"), f"approximate is '{approximate[:20]}'; allowed: none, tanh")
    return Spec(x.shape, floating(x))


@rule("celu elu hardtanh leaky_relu hardshrink softshrink threshold softplus round.decimals")
def with_numbers(x: Spec, *_: Any) -> Spec:
    """An activation with settings that are any numbers."""
    return Spec(x.shape, floating(x))


@rule("dropout feature_dropout alpha_dropout feature_alpha_dropout")
def dropout(x: Spec, p: float, train: bool) -> Spec:
    """Nothing at all in evaluation mode, the only one that a file may ask for."""
    need(not train and 0 <= p <= 1, "dropout is random; allowed is train=False")
    return x


@rule("""acos acosh asin asinh atan atanh cos cosh erf erfc erfinv exp exp2 expm1 log log10 log1p log2 reciprocal rsqrt
      sigmoid sin sinc sinh sqrt tan tanh logit""")
def fraction(x: Spec, *_: Any) -> Spec:
    """A function that whole numbers become fractions under."""
    return Spec(x.shape, as_float(x.dtype))


@rule("isfinite isinf isnan logical_not")
def truth(x: Spec) -> Spec:
    """A question about each value."""
    return Spec(x.shape, torch.bool)


@rule("""eq.Tensor eq.Scalar ne.Tensor ne.Scalar lt.Tensor lt.Scalar le.Tensor le.Scalar gt.Tensor gt.Scalar ge.Tensor
      ge.Scalar logical_and logical_or logical_xor""")
def compared(x: Spec, y: Any) -> Spec:
    """A question about two values."""
    return Spec(_shape(x, y), torch.bool)


@rule("""add.Tensor add.Scalar sub.Tensor sub.Scalar rsub.Tensor rsub.Scalar mul.Tensor mul.Scalar maximum minimum
      max.other min.other fmod.Tensor fmod.Scalar remainder.Tensor remainder.Scalar floor_divide floor_divide.Scalar
      pow.Tensor_Tensor pow.Tensor_Scalar pow.Scalar""")
def arithmetic(x: Any, y: Any, alpha: Any = 1) -> Spec:
    """Two values, one of which may be a number; ``alpha`` may not turn whole numbers into fractions."""
    kind = promoted(x, y)
    need(isinstance(alpha, int) or is_number(kind), f"a factor {alpha} for whole numbers")
    return Spec(_shape(x, y), kind)


@rule("bitwise_and.Tensor bitwise_and.Scalar bitwise_or.Tensor bitwise_or.Scalar bitwise_xor.Tensor bitwise_xor.Scalar")
def bits(x: Spec, y: Any) -> Spec:
    """Bits of whole numbers."""
    kind = promoted(x, y)
    need(not is_number(kind), f"{kind} has fractions, not bits")
    return Spec(_shape(x, y), kind)


@rule("div.Tensor div.Scalar atan2 hypot xlogy.Tensor logaddexp logaddexp2")
def quotient(x: Spec, y: Any) -> Spec:
    """Two values that give a fraction."""
    return Spec(_shape(x, y), as_float(promoted(x, y)))


@rule("div.Tensor_mode div.Scalar_mode")
def rounded_quotient(x: Spec, y: Any, rounding_mode: str | None) -> Spec:
    """A quotient; the least whole number by -1, cut off, has none and ends the process, so the divisor must be told."""
    need(rounding_mode in _WORDS, f"rounding_mode is '{str(rounding_mode)[:20]}'; allowed: {_WORDS}")
    kind = promoted(x, y)
    need(rounding_mode != "trunc" or is_number(kind) or (isinstance(y, int) and y > 0),
         "whole numbers are cut off by a number above 0 only")
    return Spec(_shape(x, y), as_float(kind) if rounding_mode is None else kind)


@rule("where.self where.ScalarOther where.ScalarSelf where.Scalar")
def where(condition: Spec, x: Any, y: Any) -> Spec:
    """One of two values for each."""
    need(condition.dtype == torch.bool, "a condition is of truth values")
    given = [one for one in (x, y) if isinstance(one, Spec)]
    return Spec(broadcast(condition.shape, *(one.shape for one in given)), promoted(x, y))


@rule("masked_fill.Scalar masked_fill.Tensor")
def masked_fill(x: Spec, mask: Spec, value: Any) -> Spec:
    """One value in some places."""
    need(mask.dtype == torch.bool, "a mask is of truth values")
    need(not isinstance(value, Spec) or not value.shape, "the value has axes")
    return Spec(broadcast(x.shape, mask.shape), x.dtype)


@rule("clamp clamp.Tensor clamp_min clamp_min.Tensor clamp_max clamp_max.Tensor")
def clamp(x: Spec, *bounds: Any) -> Spec:
    """Values within bounds."""
    given = [bound for bound in bounds if bound is not None]
    need(bool(given), "a bound is needed")
    return Spec(_shape(x, *given), promoted(x, *given))


@rule("addcmul addcdiv")
def product_added(x: Spec, y: Spec, z: Spec, value: Any) -> Spec:
    """A product or quotient added to values."""
    return Spec(_shape(x, y, z), floating(x, y, z))


@rule("lerp.Scalar lerp.Tensor")
def lerp(x: Spec, end: Spec, weight: Any) -> Spec:
    """A value between two."""
    return Spec(_shape(x, end, weight), floating(x, end, *[weight] * isinstance(weight, Spec)))


@rule("polar complex")
def complex_number(x: Spec, y: Spec) -> Spec:
    """Two real numbers to a complex one."""
    need(x.dtype == y.dtype == torch.float32, f"{x} and {y} are not both float32")
    return Spec(_shape(x, y), torch.complex64)


@rule("prelu")
def prelu(x: Spec, weight: Spec) -> Spec:
    """A slope for all channels, or one for each."""
    channels = x.shape[1] if len(x.shape) > 1 else 1
    need(len(weight.shape) <= 1 and weight.shape in ((), (1,), (channels,)), f"slopes {weight} for {x}")
    return Spec(x.shape, floating(x, weight))


@rule("glu")
def glu(x: Spec, axis: int) -> Spec:
    """One half of the values, gated by the other."""
    need(bool(x.shape) and -len(x.shape) <= axis < len(x.shape), f"axis {axis} of {x}")
    shape = list(x.shape)
    need(shape[axis] % 2 == 0, f"axis {axis} of {x} has no halves")
    shape[axis] //= 2
    return Spec(tuple(shape), floating(x))


def _shape(*values: Any) -> tuple[int, ...]:
    """The shape of a result of tensors and numbers."""
    return broadcast(*(value.shape for value in values if isinstance(value, Spec)))
