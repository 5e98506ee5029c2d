"""What is made of all positions of an axis: sums, means, extremes; sorting and softmax, which fix it."""

from __future__ import annotations

from secateur.graph.axes import ONE
from secateur.graph.calls import reduced_dims
from secateur.graph.rules.base import Call, TensorAxes, rule
from secateur.graph.rules.elementwise import broadcast


@rule("sum", "mean", "amax", "amin", "prod", "std", "var", "norm", "linalg_vector_norm", "logsumexp", "any", "all",
      "var_mean", "std_mean", "nansum", "nanmean", "count_nonzero", "aminmax", "special_logsumexp")
def reduction(call: Call) -> list[list[int]]:
    """Reduces over axes whose order does not matter: they stay free."""
    x = call.tensors[0]
    dims = reduced_dims(call["dim"], len(x.axes))
    out = [ONE if d in dims else a for d, a in enumerate(x.axes) if call["keepdim"] or d not in dims]
    return [out for _ in call.shapes]


@rule("max", "min", "argmax", "argmin", "median", "mode", "kthvalue", "topk", "sort", "argsort", "cummax", "cummin",
      "cumsum", "cumprod", "logcumsumexp", "softmin", "flip", "rot90", "roll", "trapezoid", "trapz", "renorm", "diff",
      "_safe_softmax", "gumbel_softmax", "fft_fft", "fft_ifft", "fft_rfft", "fft_irfft", "fft_hfft", "fft_ihfft",
      "fft_fft2", "fft_ifft2", "fft_rfft2", "fft_irfft2", "fft_fftn", "fft_ifftn", "fft_rfftn", "fft_irfftn",
      "fft_fftshift", "fft_ifftshift")
def fix_order(call: Call) -> list[int] | list[list[int]]:
    """What depends on the order or the number of positions along an axis fixes that axis."""
    x = call.tensors[0]
    if call.name in ("max", "min") and len(call.tensors) > 1:
        return broadcast(call, call.tensors)
    if call.name in ("max", "min") and not any(n.users and n.args[1:] == (1,) for n in call.node.users):
        return reduction(call)
    dims = call["dims" if "dims" in call.args else "dim"]
    if dims is None and call["s"] is not None:
        dims = range(-len(call["s"]), 0)
    dims = reduced_dims(dims, len(x.axes))
    call.fix(x, dims, f"{call.name} along it")
    return [_resize(call, x, dims, shape) for shape in call.shapes]


@rule("softmax", "log_softmax", "_softmax", "_log_softmax")
def softmax(call: Call) -> list[int]:
    """Over experts, a softmax over those that stay; over anything else it fixes the axis."""
    x = call.tensors[0]
    call.shares.append((x.axes[call["dim"] % len(x.axes)], f"softmax along it at {call.where}"))
    return list(x.axes)


def _resize(call: Call, x: TensorAxes, dims: list[int], shape: tuple[int, ...]) -> list[int]:
    """The axes of ``x`` with those in ``gone`` kept, shortened or dropped as ``shape`` says."""
    if len(shape) == len(x.axes):
        return [call.fixed_axis(s) if d in dims and s != call.axes.sizes[a] else a
                for d, (a, s) in enumerate(zip(x.axes, shape, strict=True))]
    return [a for d, a in enumerate(x.axes) if d not in dims]
