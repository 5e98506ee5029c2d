"""Sums of products: linear layers, matrix products, einsum, distances, attention."""

from __future__ import annotations

from secateur.graph.axes import ONE
from secateur.graph.rules.base import Op, Value, rule
from secateur.graph.rules.elementwise import broadcast


@rule("linear")
def linear(op: Op) -> list[int]:
    """``x @ w.T + b``."""
    x, w, b = op["input"], op["weight"], op["bias"]
    op.tie(x.axes[-1], w.axes[-1])
    op.role(w, -1, "in")
    if len(w.axes) == 1:
        return list(x.axes[:-1])
    op.role(w, 0, "out")
    op.role(x, -1, "in")
    if b is not None:
        op.tie(b.axes[0], w.axes[0])
    return [*x.axes[:-1], w.axes[0]]


@rule("matmul", "bmm", "mm", "mv", "dot", "vdot", "inner")
def matmul(op: Op) -> list[int]:
    """Contracts the last axis of the first with the second-to-last of the second."""
    return _product_of(op, *op.tensors[:2])


def _product_of(op: Op, a: Value, b: Value) -> list[int]:
    """The matrix product of two values."""
    op.tie(a.axes[-1], b.axes[-2 if len(b.axes) > 1 else 0])
    op.role(a, -1, "in")
    op.role(b, -2 if len(b.axes) > 1 else 0, "in")
    batch = broadcast(op, [Value(v.shape[:-2], v.axes[:-2]) for v in (a, b)])
    tail = []
    if len(a.axes) > 1:
        op.role(a, -2, "out")
        tail.append(a.axes[-2])
    if len(b.axes) > 1:
        op.role(b, -1, "out")
        tail.append(b.axes[-1])
    return [*batch, *tail]


@rule("addmm", "baddbmm", "addmv")
def addmm(op: Op) -> list[int]:
    """A matrix product with something added."""
    bias, a, b = op.tensors[:3]
    out = _product_of(op, a, b)
    return broadcast(op, [Value(op.shapes[0], out), bias], len(out))


@rule("addbmm")
def addbmm(op: Op) -> list[int]:
    """A sum of matrix products with something added."""
    bias, a, b = op.tensors[:3]
    return broadcast(op, [Value((), _product_of(op, a, b)[1:]), bias], 2)


@rule("tensordot")
def tensordot(op: Op) -> list[int]:
    """Contracts the named axes of both."""
    a, b = op.tensors[:2]
    gone = [[d % len(v.axes) for d in op[key]] for v, key in ((a, "dims_self"), (b, "dims_other"))]
    for i, j in zip(*gone, strict=True):
        op.tie(a.axes[i], b.axes[j])
    for value, dims in zip((a, b), gone, strict=True):
        for d in range(len(value.axes)):
            op.role(value, d, "in" if d in dims else "out")
    return [axis for v, dims in zip((a, b), gone, strict=True) for d, axis in enumerate(v.axes) if d not in dims]


@rule("outer", "ger")
def outer(op: Op) -> list[int]:
    """Every value of one times every value of the other."""
    return [v.axes[0] for v in op.tensors[:2]]


def terms(op: Op) -> tuple[list[str], str]:
    """The letters of each tensor and of the result, ellipses as digits, the result written out."""
    left, arrow, right = op["equation"].replace(" ", "").partition("->")
    counts = [len(v.axes) - len(t.replace("...", "")) for t, v in zip(left.split(","), op["tensors"], strict=True)]
    digits = "0123456789"[:max(counts)]
    made = [t.replace("...", digits[len(digits) - n:]) for t, n in zip(left.split(","), counts, strict=True)]
    joined = "".join(made)
    once = "".join(sorted(c for c in set(joined) if joined.count(c) == 1 and c not in digits))
    return made, right.replace("...", digits) if arrow else digits + once


@rule("einsum")
def einsum(op: Op) -> list[int]:
    """Axes of one letter are one axis."""
    left, right = terms(op)
    letters: dict[str, int] = {}
    for term, value in zip(left, op["tensors"], strict=True):
        for d, letter in enumerate(term):
            op.role(value, d, "out" if letter in right else "in")
            if op.axes.sizes[letters.setdefault(letter, value.axes[d])] == 1:
                letters[letter] = value.axes[d]
            elif op.axes.sizes[value.axes[d]] != 1:
                op.tie(letters[letter], value.axes[d])
    return [letters[letter] for letter in right]


@rule("bilinear")
def bilinear(op: Op) -> list[int]:
    """``x1 W x2`` for each output."""
    a, b, w = op["input1"], op["input2"], op["weight"]
    op.tie(a.axes[-1], w.axes[1])
    op.tie(b.axes[-1], w.axes[2])
    for d, role in enumerate(("out", "in", "in")):
        op.role(w, d, role)
    if op["bias"] is not None:
        op.tie(op["bias"].axes[0], w.axes[0])
    return [*broadcast(op, [Value(v.shape[:-1], v.axes[:-1]) for v in (a, b)]), w.axes[0]]


@rule("grouped_mm", "_grouped_mm", "grouped_mm_fallback")
def grouped_matmul(op: Op) -> list[int]:
    """Rows of the input times the matrix of the expert that they belong to: experts are fixed."""
    x, w, offsets = op.tensors[:3]
    op.tie(x.axes[-1], w.axes[1])
    op.fix(w, [0], "experts chosen by number")
    op.fix(offsets, [0], "experts chosen by number")
    op.role(w, 1, "in")
    op.role(w, 2, "out")
    return [x.axes[0], w.axes[2]]


@rule("cosine_similarity", "pairwise_distance")
def similarity(op: Op) -> list[int]:
    """Likeness along one axis: it is contracted."""
    out = broadcast(op, op.tensors[:2])
    d = (-1 if op["dim"] is None else op["dim"]) % len(out)
    return [ONE if i == d else a for i, a in enumerate(out) if i != d or op["keepdim"]]


@rule("cdist")
def cdist(op: Op) -> list[int]:
    """Distances between rows: the columns are contracted."""
    a, b = op["x1"], op["x2"]
    op.tie(a.axes[-1], b.axes[-1])
    batch = broadcast(op, [Value(v.shape[:-2], v.axes[:-2]) for v in (a, b)])
    return [*batch, a.axes[-2], b.axes[-2]]


@rule("scaled_dot_product_attention")
def attention(op: Op) -> list[int]:
    """Softmax(q k') v: heads are tied; without an explicit scale the head size sets the scale and stays."""
    q, k, v, mask = op["query"], op["key"], op["value"], op["attn_mask"]
    op.tie(q.axes[-1], k.axes[-1])
    op.tie(k.axes[-2], v.axes[-2])
    op.fix(k, [-2], "softmax along it")
    if op["scale"] is None:
        op.fix(q, [-1], "the attention derives its scale from the head size")
    grouped = bool(op["enable_gqa"]) and q.shape[-3] != k.shape[-3]
    if grouped:
        op.tie(k.axes[-3], v.axes[-3])
        repeat = op.axes.leaf(q.shape[-3] // k.shape[-3])
        op.tie(q.axes[-3], op.axes.product([k.axes[-3], repeat]))
    cut = 3 if grouped else 2
    batch = broadcast(op, [Value(t.shape[:-cut], t.axes[:-cut]) for t in (q, k, v)], len(q.axes) - cut)
    batch = [*batch, q.axes[-3]] if grouped else batch
    if mask is not None:
        scores = Value((), [*batch, q.axes[-2], k.axes[-2]])
        broadcast(op, [scores, mask], len(scores.axes))
    return [*batch, q.axes[-2], v.axes[-1]]
