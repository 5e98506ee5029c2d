"""Element-wise operators: equal axes are tied, axes of one broadcast."""

from __future__ import annotations

from secateur.graph.axes import ONE
from secateur.graph.rules.base import Call, TensorAxes, rule


def broadcast(call: Call, values: list[TensorAxes], rank: int | None = None) -> list[int]:
    """Tie values that broadcast together; returns the axes of the result."""
    rank = max((len(v.axes) for v in values), default=0) if rank is None else rank
    out = [ONE] * rank
    for value in values:
        for d, axis in enumerate(value.axes, rank - len(value.axes)):
            if call.axes.sizes[axis] != 1:
                if call.axes.sizes[out[d]] == 1:
                    out[d] = axis
                else:
                    call.tie(out[d], axis)
    return out


@rule("pointwise", "dropout", "feature_dropout", "alpha_dropout", "to", "_to_copy", "clone", "contiguous", "alias",
      "detach", "lift_fresh_copy", "masked_fill", "where", "fill", "positive", "clamp", "rsub", "copy",
      "zeros_like", "ones_like", "full_like", "empty_like", "zero", "_softmax_backward_data", "addcmul", "addcdiv",
      "lerp", "nan_to_num", "softplus", "hardtanh", "celu", "rrelu", "native_dropout",
      "_autocast_to_full_precision", "_autocast_to_reduced_precision", "isin", "bernoulli",
      "__and__", "__or__", "__xor__", "__iand__", "__ior__",
      "__lshift__", "__rshift__", "cosine_embedding_loss", "rand_like", "randn_like", "floor_divide",
      "multiply", "divide", "subtract", "true_divide", "absolute", "negative", "complex",
      "log_sigmoid", "hardswish", "real", "imag", "polar")
def pointwise(call: Call) -> list[int] | TensorAxes | list[list[int]]:
    """Position by position: equal axes are tied, axes of one broadcast."""
    values = call.tensors
    if len(call.shapes) > 1:
        return [broadcast(call, values, len(s)) for s in call.shapes]
    out = _expand(call, broadcast(call, values, len(call.shapes[0])))
    if len(values) == 1 and values[0].origin:
        return TensorAxes(call.shapes[0], out, values[0].origin)
    return out


@rule("view_as_complex", "view_as_complex_copy")
def pairs(call: Call) -> list[int]:
    """Pairs along the last axis become one number each."""
    call.fix(call.tensors[0], [-1], "real and imaginary parts")
    return list(call.tensors[0].axes[:-1])


@rule("view_as_real", "view_as_real_copy")
def parts(call: Call) -> list[int]:
    """One number becomes a pair along a new last axis."""
    return [*call.tensors[0].axes, call.fixed_axis(2, "real and imaginary parts")]


@rule("type_as")
def like(call: Call) -> list[int]:
    """The second tensor gives a type, no shape."""
    return list(call.tensors[0].axes)


def _expand(call: Call, axes: list[int]) -> list[int]:
    """Axes of one that the result has in full become free ones."""
    return [call.axes.leaf(s) if call.axes.sizes[a] == 1 and s != 1 else a
            for a, s in zip(axes, call.shapes[0], strict=True)]
