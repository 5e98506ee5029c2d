"""What is made of all positions of an axis: sums, means, extremes; sorting and softmax, which fix it."""

from __future__ import annotations

from secateur.graph.axes import ONE
from secateur.graph.calls import reduced_dims
from secateur.graph.rules.base import Op, Value, rule
from secateur.graph.rules.elementwise import broadcast


@rule("sum", "mean", "amax", "amin", "prod", "std", "var", "norm", "linalg_vector_norm", "logsumexp", "any", "all",
      "var_mean", "std_mean", "nansum", "nanmean", "count_nonzero", "aminmax", "special_logsumexp")
def reduction(op: Op) -> list[list[int]]:
    """Reduces over axes whose order does not matter: they stay free."""
    x = op.tensors[0]
    gone = reduced_dims(op["dim"], len(x.axes))
    out = [ONE if d in gone else a for d, a in enumerate(x.axes) if op["keepdim"] or d not in gone]
    return [out for _ in op.shapes]


@rule("max", "min", "argmax", "argmin", "median", "mode", "kthvalue", "topk", "sort", "argsort", "cummax", "cummin",
      "cumsum", "cumprod", "logcumsumexp", "softmin", "flip", "trapezoid", "trapz",
      "renorm", "diff", "_safe_softmax", "gumbel_softmax")
def fix_order(op: Op) -> list[int] | list[list[int]]:
    """What depends on the order or the number of positions along an axis fixes that axis."""
    x = op.tensors[0]
    if op.name in ("max", "min") and len(op.tensors) > 1:
        return broadcast(op, op.tensors)
    if op.name in ("max", "min") and not any(n.users and n.args[1:] == (1,) for n in op.node.users):
        return reduction(op)
    gone = reduced_dims(op["dims" if op.name == "flip" else "dim"], len(x.axes))
    op.fix(x, gone, f"{op.name} along it")
    return [_resize(op, x, gone, shape) for shape in op.shapes]


@rule("fft_fft", "fft_ifft", "fft_rfft", "fft_irfft", "fft_hfft", "fft_ihfft", "fft_fft2", "fft_ifft2", "fft_rfft2",
      "fft_irfft2", "fft_fftn", "fft_ifftn", "fft_rfftn", "fft_irfftn", "fft_fftshift", "fft_ifftshift")
def fourier(op: Op) -> list[int]:
    """A transform along some axes fixes these."""
    x = op.tensors[0]
    every = list(range(len(x.axes)))
    gone = every[-len(op["s"]):] if op["dim"] is None and op["s"] is not None else reduced_dims(op["dim"], len(every))
    op.fix(x, gone, f"{op.name} along it")
    return [op.fixed_axis(s) if d in gone else a for d, (a, s) in enumerate(zip(x.axes, op.shapes[0], strict=True))]


@rule("softmax", "log_softmax", "_softmax", "_log_softmax")
def softmax(op: Op) -> list[int]:
    """Over experts, a softmax over those that stay; over anything else it fixes the axis."""
    x = op.tensors[0]
    op.shares.append((x.axes[op["dim"] % len(x.axes)], f"softmax along it at {op.where}"))
    return list(x.axes)


def _resize(op: Op, x: Value, gone: list[int], shape: tuple[int, ...]) -> list[int]:
    """The axes of ``x`` with those in ``gone`` kept, shortened or dropped as ``shape`` says."""
    if len(shape) == len(x.axes):
        return [op.fixed_axis(s) if d in gone and s != op.axes.sizes[a] else a
                for d, (a, s) in enumerate(zip(x.axes, shape, strict=True))]
    return [a for d, a in enumerate(x.axes) if d not in gone]
