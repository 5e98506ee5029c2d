"""What is made of all positions of an axis: sums, means, extremes; sorting and softmax, which fix it."""

from __future__ import annotations

from secateur.graph.axes import ONE
from secateur.graph.rules.base import Op, Value, rule
from secateur.graph.rules.elementwise import broadcast


def _dims_of(op: Op, value: Value, key: str = "dim") -> list[int]:
    """The axes that a reduction names; all where it names none."""
    dims = op[key]
    dims = [dims] if isinstance(dims, int) else dims
    return [d % len(value.axes) for d in dims] if dims else list(range(len(value.axes)))


@rule("sum", "mean", "amax", "amin", "prod", "std", "var", "norm", "linalg_vector_norm", "logsumexp", "any", "all",
      "var_mean", "std_mean", "nansum", "nanmean", "count_nonzero", "aminmax", "special_logsumexp")
def reduction(op: Op) -> list[int] | list[list[int]]:
    """Reduces over axes whose order does not matter: they stay free."""
    x = op.tensors[0]
    gone = _dims_of(op, x)
    keep = bool(op["keepdim"])
    out = [ONE if d in gone else a for d, a in enumerate(x.axes) if keep or d not in gone]
    return [list(out) for _ in op.shapes] if len(op.shapes) > 1 else out


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
    gone = _dims_of(op, x, "dims" if op.name == "flip" else "dim")
    op.fix(x, gone, f"{op.name} along it")
    return [_reshaped_by_size(op, x, gone, shape) for shape in op.shapes] if len(op.shapes) > 1 \
        else _reshaped_by_size(op, x, gone, op.shapes[0])


@rule("fft_fft", "fft_ifft", "fft_rfft", "fft_irfft", "fft_hfft", "fft_ihfft", "fft_fft2", "fft_ifft2", "fft_rfft2",
      "fft_irfft2", "fft_fftn", "fft_ifftn", "fft_rfftn", "fft_irfftn", "fft_fftshift", "fft_ifftshift")
def fourier(op: Op) -> list[int]:
    """A transform along some axes fixes these."""
    x = op.tensors[0]
    gone = _dims_of(op, x) if op["dim"] is not None or op["s"] is None else range(len(x.axes))[-len(op["s"]):]
    op.fix(x, gone, f"{op.name} along it")
    return [op.fixed(s) if d in gone else a for d, (a, s) in enumerate(zip(x.axes, op.shapes[0], strict=True))]


@rule("softmax", "log_softmax", "_softmax", "_log_softmax")
def softmax(op: Op) -> list[int]:
    """Over experts, a softmax over those that stay; over anything else it fixes the axis."""
    x = op.tensors[0]
    op.shares.append((x.axes[op["dim"] % len(x.axes)], f"softmax along it at {op.where}"))
    return list(x.axes)


def _reshaped_by_size(op: Op, x: Value, gone: list[int], shape: tuple[int, ...]) -> list[int]:
    """The axes of ``x`` with those in ``gone`` kept, shortened or dropped as ``shape`` says."""
    if len(shape) == len(x.axes):
        return [op.fixed(s) if d in gone and s != op.axes.sizes[a] else a
                for d, (a, s) in enumerate(zip(x.axes, shape, strict=True))]
    return [a for d, a in enumerate(x.axes) if d not in gone]
