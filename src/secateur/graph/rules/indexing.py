"""Operators that pick positions by number: the axes that they pick from are fixed."""

from __future__ import annotations

from math import prod
from typing import Any

import torch

from secateur.graph.axes import ONE
from secateur.graph.rules.base import Op, Value, rule
from secateur.graph.rules.elementwise import broadcast


@rule("embedding", "embedding_bag")
def embedding(op: Op) -> list[int] | list[list[int]]:
    """Rows picked by number: the rows are fixed, the columns produced."""
    w, index = op["weight"], op["indices"]
    op.fix(w, [0], "rows picked by number")
    op.role(w, 1, "out")
    if len(op.shapes) > 1:
        return [[op.fixed_axis(op.shapes[0][0]), w.axes[1]], *([op.fixed_axis(n) for n in s] for s in op.shapes[1:])]
    return [*index.axes, w.axes[1]]


@rule("index", "_unsafe_index")
def index(op: Op) -> list[int]:
    """Advanced indexing: indexed axes are fixed, the indices' own axes take their place."""
    x, picks = op.tensors[0], op["indices"]
    indexed = [d for d, p in enumerate(picks) if p is not None]
    op.fix(x, indexed, "picked by number")
    if any(len(picks[d].axes) > 1 and _is_mask(op, d) for d in indexed):
        return [op.fixed_axis(s) for s in op.shapes[0]]
    new = broadcast(op, [picks[d] for d in indexed])
    rest = [a for d, a in enumerate(x.axes) if d not in indexed]
    adjacent = indexed == list(range(indexed[0], indexed[-1] + 1))
    at = indexed[0] if adjacent else 0
    out = [*rest[:at], *new, *rest[at:]]
    return out if [op.axes.sizes[a] for a in out] == list(op.shapes[0]) else barrier(op)


def _is_mask(op: Op, position: int) -> bool:
    """Whether an index is a mask of booleans."""
    nodes: Any = op.node.args[1]
    return bool(nodes[position].meta["val"].dtype == torch.bool)


@rule("masked_scatter", "one_hot", "bincount", "nonzero", "masked_select", "bucketize", "searchsorted")
def barrier(op: Op) -> list[int]:
    """Fix everything that a call touches."""
    for value in op.tensors:
        op.fix(value, range(len(value.axes)), "picked in a way that is not followed")
    return [op.fixed_axis(s) for s in op.shapes[0]]


@rule("index_select")
def index_select(op: Op) -> list[int]:
    """Rows picked by number."""
    x, picks = op["self"], op["index"]
    d = op["dim"] % len(x.axes)
    op.fix(x, [d], "picked by number")
    return [(picks.axes[0] if picks.axes else op.fixed_axis(1)) if i == d else a for i, a in enumerate(x.axes)]


@rule("gather", "scatter", "scatter_add", "scatter_reduce")
def gather(op: Op) -> list[int]:
    """Picked along one axis, position by position along the others."""
    x, picks, d = op["self"], op["index"], op["dim"] % len(op["self"].axes)
    op.fix(x, [d], "picked by number")
    op.fix(picks, [d], "numbers of positions")
    whole = [i for i in range(len(x.axes)) if x.shape[i] != picks.shape[i] and i != d]
    op.fix(x, whole, "picked in part")
    for i in range(len(x.axes)):
        if i != d and i not in whole:
            op.tie(x.axes[i], picks.axes[i])
    source = op["src"]
    if isinstance(source, Value):
        for i, (a, b) in enumerate(zip(source.axes, picks.axes, strict=True)):
            if source.shape[i] == picks.shape[i]:
                op.tie(a, b)
            else:
                op.fix(source, [i], "picked in part")
    return list(picks.axes) if op.name == "gather" else list(x.axes)


@rule("take_along_dim")
def along(op: Op) -> list[int]:
    """Picked along one axis; the others broadcast with those of the numbers."""
    x, picks = op["self"], op["indices"]
    if op["dim"] is None:
        return barrier(op)
    d = op["dim"] % len(x.axes)
    op.fix(x, [d], "picked by number")
    op.fix(picks, [d], "numbers of positions")
    others = [Value((), [ONE if i == d else a for i, a in enumerate(v.axes)]) for v in (x, picks)]
    return [picks.axes[d] if i == d else a for i, a in enumerate(broadcast(op, others))]


@rule("index_add", "index_copy", "index_fill", "index_reduce", "slice_scatter", "select_scatter")
def index_add(op: Op) -> list[int]:
    """Written by number along one axis, which is fixed; the others go with those of what is written."""
    x, source = op["self"], next((op[key] for key in ("source", "src") if op[key] is not None), None)
    d = (op["dim"] or 0) % len(x.axes)
    op.fix(x, [d], "written by number")
    written = list(source.axes) if isinstance(source, Value) else []
    if op.name == "select_scatter":
        written.insert(d, ONE)
    for i, (a, b) in enumerate(zip(x.axes, written, strict=False)):
        if i == d:
            op.axes.fix(b, f"written by number at {op.where}")
        else:
            op.tie(a, b)
    return list(x.axes)


@rule("index_put", "_unsafe_index_put")
def index_put(op: Op) -> list[int]:
    """Written by number: the axes that are written to are fixed; one value where a mask says so fixes nothing."""
    x, picks, values = op["self"], op["indices"], op["values"]
    if len(picks) == 1 and _is_mask(op, 0) and prod(values.shape) == 1:
        for a, b in zip(x.axes, picks[0].axes, strict=False):
            op.tie(a, b)
        return list(x.axes)
    if any(p is not None and len(p.axes) > 1 for p in picks):
        return barrier(op)
    indexed = [d for d, p in enumerate(picks) if p is not None]
    op.fix(x, indexed, "written by number")
    if indexed != list(range(len(indexed))):
        return barrier(op)
    rest = x.axes[len(indexed):]
    for a, b in zip(rest[::-1], values.axes[::-1], strict=False):
        if op.axes.sizes[b] != 1:
            op.tie(a, b)
    for extra in values.axes[:max(len(values.axes) - len(rest), 0)]:
        op.axes.fix(extra, f"written by number at {op.where}")
    return list(x.axes)
