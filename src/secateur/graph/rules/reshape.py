"""The same positions under other axes: views, transpositions, copies."""

from __future__ import annotations

from secateur.graph.axes import ONE
from secateur.graph.rules.base import Op, Value, rule


@rule("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as",
      "_reshape_alias", "ravel", "atleast_1d", "atleast_2d", "atleast_3d")
def reshape(op: Op) -> list[int]:
    """The same positions in the same order under other axes."""
    x, shape = op.tensors[0], op.shapes[0]
    if x.shape == shape:
        return list(x.axes)
    if 0 in shape:
        return [op.fixed_axis(s) for s in shape]
    out = [op.axes.leaf(s) for s in shape]
    op.axes.align(x.axes, out)
    return out


@rule("transpose", "t", "permute", "movedim", "swapaxes", "swapdims", "numpy_T", "mT", "adjoint", "moveaxis")
def permute(op: Op) -> Value:
    """The axes in another order."""
    x = op.tensors[0]
    order = _order_of(op, len(x.axes))
    origin = (x.origin[0], tuple(x.origin[1][d] for d in order)) if x.origin else None
    return Value(op.shapes[0], [x.axes[d] for d in order], origin)


def _order_of(op: Op, rank: int) -> list[int]:
    """Which axis of the input each axis of the output is."""
    order = list(range(rank))
    if op.name == "permute":
        return [d % rank for d in op["dims"]]
    if op.name in ("movedim", "moveaxis"):
        source, target = ([v] if isinstance(v, int) else v for v in (op["source"], op["destination"]))
        pairs = sorted((t % rank, s % rank) for s, t in zip(source, target, strict=True))
        rest = [d for d in order if d not in [s for _, s in pairs]]
        for t, s in pairs:
            rest.insert(t, s)
        return rest
    if op.name in ("t", "numpy_T"):
        return order[::-1]
    first, second = [v for v in op.args.values() if isinstance(v, int)][:2] or (-1, -2)
    order[first], order[second] = order[second], order[first]
    return order


@rule("expand", "expand_as", "broadcast_to", "repeat", "tile")
def repeat(op: Op) -> list[int]:
    """Equal copies along an axis: the copies are a free factor outside the old one."""
    x, shape = op.tensors[0], op.shapes[0]
    old = [ONE] * (len(shape) - len(x.axes)) + list(x.axes)
    return [op.axes.product([op.axes.leaf(s // op.axes.sizes[a]), a]) if op.axes.sizes[a] else op.fixed_axis(s)
            for a, s in zip(old, shape, strict=True)]


@rule("repeat_interleave")
def interleave(op: Op) -> list[int]:
    """Each position several times in a row: the copies are a free factor inside the old one."""
    x = op.tensors[0]
    if not isinstance(op["repeats"], int) or op["dim"] is None:
        op.fix(x, range(len(x.axes)), "copies that depend on the data")
        return [op.fixed_axis(s) for s in op.shapes[0]]
    out = list(x.axes)
    d = op["dim"] % len(out)
    out[d] = op.axes.product([out[d], op.axes.leaf(op["repeats"])])
    return out
