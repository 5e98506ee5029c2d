"""Operators that pick positions by number: the axes that they pick from are fixed."""

from __future__ import annotations

from math import prod
from typing import Any

import torch

from secateur.graph.axes import ONE
from secateur.graph.rules.base import Call, TensorAxes, rule
from secateur.graph.rules.elementwise import broadcast


@rule("embedding", "embedding_bag")
def embedding(call: Call) -> list[int] | list[list[int]]:
    """Rows picked by number: the rows are fixed, the columns produced."""
    w, index = call["weight"], call["indices"]
    call.fix(w, [0], "rows picked by number")
    call.role(w, 1, "out")
    if len(call.shapes) > 1:
        rows, *others = call.shapes
        return [[call.fixed_axis(rows[0]), w.axes[1]], *([call.fixed_axis(n) for n in s] for s in others)]
    return [*index.axes, w.axes[1]]


@rule("index", "_unsafe_index")
def index(call: Call) -> list[int] | list[list[int]]:
    """Advanced indexing: indexed axes are fixed, the indices' own axes take their place."""
    x, picks = call.tensors[0], call["indices"]
    indexed = [d for d, p in enumerate(picks) if p is not None]
    call.fix(x, indexed, "picked by number")
    if any(len(picks[d].axes) > 1 and _is_mask(call, d) for d in indexed):
        return [call.fixed_axis(s) for s in call.shapes[0]]
    new = broadcast(call, [picks[d] for d in indexed])
    rest = [a for d, a in enumerate(x.axes) if d not in indexed]
    adjacent = indexed == list(range(indexed[0], indexed[-1] + 1))
    at = indexed[0] if adjacent else 0
    out = [*rest[:at], *new, *rest[at:]]
    return out if [call.axes.sizes[a] for a in out] == list(call.shapes[0]) else barrier(call)


def _is_mask(call: Call, position: int) -> bool:
    """Whether an index is a mask of booleans."""
    nodes: Any = call.node.args[1]
    return bool(nodes[position].meta["val"].dtype == torch.bool)


@rule("masked_scatter", "one_hot", "bincount", "nonzero", "masked_select", "bucketize", "searchsorted")
def barrier(call: Call) -> list[list[int]]:
    """Nothing is followed through this."""
    return call.fix_all("picked in a way that is not followed")


@rule("index_select")
def index_select(call: Call) -> list[int]:
    """Rows picked by number."""
    x, picks = call["self"], call["index"]
    d = call["dim"] % len(x.axes)
    call.fix(x, [d], "picked by number")
    return [(picks.axes[0] if picks.axes else call.fixed_axis(1)) if i == d else a for i, a in enumerate(x.axes)]


@rule("gather", "scatter", "scatter_add", "scatter_reduce")
def gather(call: Call) -> list[int]:
    """Picked along one axis, position by position along the others."""
    x, picks, d = call["self"], call["index"], call["dim"] % len(call["self"].axes)
    call.fix(x, [d], "picked by number")
    call.fix(picks, [d], "numbers of positions")
    whole = [i for i in range(len(x.axes)) if x.shape[i] != picks.shape[i] and i != d]
    call.fix(x, whole, "picked in part")
    for i in range(len(x.axes)):
        if i != d and i not in whole:
            call.tie(x.axes[i], picks.axes[i])
    source = call["src"]
    if isinstance(source, TensorAxes):
        for i, (a, b) in enumerate(zip(source.axes, picks.axes, strict=True)):
            if source.shape[i] == picks.shape[i]:
                call.tie(a, b)
            else:
                call.fix(source, [i], "picked in part")
    return list(picks.axes) if call.name == "gather" else list(x.axes)


@rule("take_along_dim")
def along(call: Call) -> list[int] | list[list[int]]:
    """Picked along one axis; the others broadcast with those of the numbers."""
    x, picks = call["self"], call["indices"]
    if call["dim"] is None:
        return barrier(call)
    d = call["dim"] % len(x.axes)
    call.fix(x, [d], "picked by number")
    call.fix(picks, [d], "numbers of positions")
    others = [TensorAxes((), [ONE if i == d else a for i, a in enumerate(v.axes)]) for v in (x, picks)]
    return [picks.axes[d] if i == d else a for i, a in enumerate(broadcast(call, others))]


@rule("index_add", "index_copy", "index_fill", "index_reduce", "slice_scatter", "select_scatter")
def index_add(call: Call) -> list[int]:
    """Written by number along one axis, which is fixed; the others go with those of what is written."""
    x, source = call["self"], next((call[key] for key in ("source", "src") if call[key] is not None), None)
    d = (call["dim"] or 0) % len(x.axes)
    call.fix(x, [d], "written by number")
    written = list(source.axes) if isinstance(source, TensorAxes) else []
    if call.name == "select_scatter":
        written.insert(d, ONE)
    for i, (a, b) in enumerate(zip(x.axes, written, strict=False)):
        if i == d:
            call.axes.fix(b, f"written by number at {call.where}")
        else:
            call.tie(a, b)
    return list(x.axes)


@rule("index_put", "_unsafe_index_put")
def index_put(call: Call) -> list[int] | list[list[int]]:
    """Written by number: the axes that are written to are fixed; one value where a mask says so fixes nothing."""
    x, picks, values = call["self"], call["indices"], call["values"]
    if len(picks) == 1 and _is_mask(call, 0) and prod(values.shape) == 1:
        for a, b in zip(x.axes, picks[0].axes, strict=False):
            call.tie(a, b)
        return list(x.axes)
    if any(p is not None and len(p.axes) > 1 for p in picks):
        return barrier(call)
    indexed = [d for d, p in enumerate(picks) if p is not None]
    call.fix(x, indexed, "written by number")
    if indexed != list(range(len(indexed))):
        return barrier(call)
    rest = x.axes[len(indexed):]
    for a, b in zip(rest[::-1], values.axes[::-1], strict=False):
        if call.axes.sizes[b] != 1:
            call.tie(a, b)
    for extra in values.axes[:max(len(values.axes) - len(rest), 0)]:
        call.axes.fix(extra, f"written by number at {call.where}")
    return list(x.axes)
