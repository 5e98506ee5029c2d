"""The same positions under other axes: views, transpositions, copies."""

from __future__ import annotations

from secateur.graph.axes import ONE
from secateur.graph.rules.base import Call, TensorAxes, rule


@rule("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as",
      "_reshape_alias", "ravel", "atleast_1d", "atleast_2d", "atleast_3d")
def reshape(call: Call) -> list[int]:
    """The same positions in the same order under other axes."""
    x, shape = call.tensors[0], call.shapes[0]
    if x.shape == shape:
        return list(x.axes)
    if 0 in shape:
        return [call.fixed_axis(s) for s in shape]
    out = [call.axes.leaf(s) for s in shape]
    call.axes.align(x.axes, out)
    return out


@rule("transpose", "t", "permute", "movedim", "swapaxes", "swapdims", "numpy_T", "mT", "adjoint", "moveaxis")
def permute(call: Call) -> TensorAxes:
    """The axes in another order."""
    x = call.tensors[0]
    order = _order_of(call, len(x.axes))
    origin = (x.origin[0], tuple(x.origin[1][d] for d in order)) if x.origin else None
    return TensorAxes(call.shapes[0], [x.axes[d] for d in order], origin)


def _order_of(call: Call, rank: int) -> list[int]:
    """Which axis of the input each axis of the output is."""
    order = list(range(rank))
    if call.name == "permute":
        return [d % rank for d in call["dims"]]
    if call.name in ("movedim", "moveaxis"):
        source, target = ([v] if isinstance(v, int) else v for v in (call["source"], call["destination"]))
        pairs = sorted((t % rank, s % rank) for s, t in zip(source, target, strict=True))
        rest = [d for d in order if d not in [s for _, s in pairs]]
        for t, s in pairs:
            rest.insert(t, s)
        return rest
    if call.name in ("t", "numpy_T"):
        return order[::-1]
    first, second = [v for v in call.args.values() if isinstance(v, int)][:2] or (-1, -2)
    order[first], order[second] = order[second], order[first]
    return order


@rule("expand", "expand_as", "broadcast_to", "repeat", "tile")
def repeat(call: Call) -> list[int]:
    """Equal copies along an axis: the copies are a free factor outside the old one."""
    x, shape = call.tensors[0], call.shapes[0]
    old = [ONE] * (len(shape) - len(x.axes)) + list(x.axes)
    sizes, product, leaf = call.axes.sizes, call.axes.product, call.axes.leaf
    return [product([leaf(s // sizes[a]), a]) if sizes[a] else call.fixed_axis(s)
            for a, s in zip(old, shape, strict=True)]


@rule("repeat_interleave")
def interleave(call: Call) -> list[int] | list[list[int]]:
    """Each position several times in a row: the copies are a free factor inside the old one."""
    x = call.tensors[0]
    if isinstance(call["repeats"], TensorAxes) or call["dim"] is None:
        return call.fix_all("copies that depend on the data")
    out = list(x.axes)
    d = call["dim"] % len(out)
    if not x.shape[d]:
        return [call.fixed_axis(size) for size in call.shapes[0]]
    # An open number of copies is no number here; the sizes of the example are.
    out[d] = call.axes.product([out[d], call.axes.leaf(call.shapes[0][d] // x.shape[d])])
    return out
