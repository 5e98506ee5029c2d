"""Sums of products: linear layers, matrix products, einsum, distances, attention."""

from __future__ import annotations

from secateur.graph.axes import ONE
from secateur.graph.rules.base import Call, TensorAxes, rule
from secateur.graph.rules.elementwise import broadcast


@rule("linear")
def linear(call: Call) -> list[int]:
    """``x @ w.T + b``."""
    x, w, b = call["input"], call["weight"], call["bias"]
    call.tie(x.axes[-1], w.axes[-1])
    call.role(w, -1, "in")
    if len(w.axes) == 1:
        return list(x.axes[:-1])
    call.role(w, 0, "out")
    call.role(x, -1, "in")
    if b is not None:
        call.tie(b.axes[0], w.axes[0])
    return [*x.axes[:-1], w.axes[0]]


@rule("matmul", "bmm", "mm", "mv", "dot", "vdot", "inner")
def matmul(call: Call) -> list[int]:
    """Contracts the last axis of the first with the second-to-last of the second."""
    return _product_of(call, *call.tensors[:2])


def _product_of(call: Call, a: TensorAxes, b: TensorAxes) -> list[int]:
    """The matrix product of two values."""
    call.tie(a.axes[-1], b.axes[-2 if len(b.axes) > 1 else 0])
    call.role(a, -1, "in")
    call.role(b, -2 if len(b.axes) > 1 else 0, "in")
    batch = broadcast(call, [TensorAxes(v.shape[:-2], v.axes[:-2]) for v in (a, b)])
    tail = []
    if len(a.axes) > 1:
        call.role(a, -2, "out")
        tail.append(a.axes[-2])
    if len(b.axes) > 1:
        call.role(b, -1, "out")
        tail.append(b.axes[-1])
    return [*batch, *tail]


@rule("addmm", "baddbmm", "addmv")
def addmm(call: Call) -> list[int]:
    """A matrix product with something added."""
    bias, a, b = call.tensors[:3]
    out = _product_of(call, a, b)
    return broadcast(call, [TensorAxes(call.shapes[0], out), bias], len(out))


@rule("addbmm")
def addbmm(call: Call) -> list[int]:
    """A sum of matrix products with something added."""
    bias, a, b = call.tensors[:3]
    return broadcast(call, [TensorAxes((), _product_of(call, a, b)[1:]), bias], 2)


@rule("tensordot")
def tensordot(call: Call) -> list[int]:
    """Contracts the named axes of both."""
    a, b = call.tensors[:2]
    contracted = [[d % len(v.axes) for d in call[key]] for v, key in ((a, "dims_self"), (b, "dims_other"))]
    for i, j in zip(*contracted, strict=True):
        call.tie(a.axes[i], b.axes[j])
    for value, dims in zip((a, b), contracted, strict=True):
        for d in range(len(value.axes)):
            call.role(value, d, "in" if d in dims else "out")
    return [axis for v, dims in zip((a, b), contracted, strict=True) for d, axis in enumerate(v.axes) if d not in dims]


@rule("outer", "ger")
def outer(call: Call) -> list[int]:
    """Every value of one times every value of the other."""
    return [v.axes[0] for v in call.tensors[:2]]


def _terms(call: Call) -> tuple[list[str], str]:
    """The letters of each tensor and of the result, ellipses as digits, the result written out."""
    left, arrow, right = call["equation"].replace(" ", "").partition("->")
    counts = [len(v.axes) - len(t.replace("...", "")) for t, v in zip(left.split(","), call["tensors"], strict=True)]
    digits = "0123456789"[:max(counts)]
    letters = [t.replace("...", digits[len(digits) - n:]) for t, n in zip(left.split(","), counts, strict=True)]
    every = "".join(letters)
    once = "".join(sorted(c for c in set(every) if every.count(c) == 1 and c not in digits))
    return letters, right.replace("...", digits) if arrow else digits + once


@rule("einsum")
def einsum(call: Call) -> list[int]:
    """Axes of one letter are one axis."""
    left, right = _terms(call)
    letters: dict[str, int] = {}
    for term, value in zip(left, call["tensors"], strict=True):
        for d, letter in enumerate(term):
            call.role(value, d, "out" if letter in right else "in")
            if call.axes.sizes[letters.setdefault(letter, value.axes[d])] == 1:
                letters[letter] = value.axes[d]
            elif call.axes.sizes[value.axes[d]] != 1:
                call.tie(letters[letter], value.axes[d])
    return [letters[letter] for letter in right]


@rule("bilinear")
def bilinear(call: Call) -> list[int]:
    """``x1 W x2`` for each output."""
    a, b, w = call["input1"], call["input2"], call["weight"]
    call.tie(a.axes[-1], w.axes[1])
    call.tie(b.axes[-1], w.axes[2])
    for d, role in enumerate(("out", "in", "in")):
        call.role(w, d, role)
    if call["bias"] is not None:
        call.tie(call["bias"].axes[0], w.axes[0])
    return [*broadcast(call, [TensorAxes(v.shape[:-1], v.axes[:-1]) for v in (a, b)]), w.axes[0]]


@rule("grouped_mm", "_grouped_mm", "grouped_mm_fallback")
def grouped_matmul(call: Call) -> list[int]:
    """Rows of the input times the matrix of the expert that they belong to: experts are fixed."""
    x, w, offsets = call.tensors[:3]
    call.tie(x.axes[-1], w.axes[1])
    call.fix(w, [0], "experts chosen by number")
    call.fix(offsets, [0], "experts chosen by number")
    call.role(w, 1, "in")
    call.role(w, 2, "out")
    return [x.axes[0], w.axes[2]]


@rule("cosine_similarity", "pairwise_distance")
def similarity(call: Call) -> list[int]:
    """Likeness along one axis: it is contracted."""
    out = broadcast(call, call.tensors[:2])
    d = (-1 if call["dim"] is None else call["dim"]) % len(out)
    return [ONE if i == d else a for i, a in enumerate(out) if i != d or call["keepdim"]]


@rule("cdist")
def cdist(call: Call) -> list[int]:
    """Distances between rows: the columns are contracted."""
    a, b = call["x1"], call["x2"]
    call.tie(a.axes[-1], b.axes[-1])
    batch = broadcast(call, [TensorAxes(v.shape[:-2], v.axes[:-2]) for v in (a, b)])
    return [*batch, a.axes[-2], b.axes[-2]]


@rule("scaled_dot_product_attention")
def attention(call: Call) -> list[int]:
    """Softmax(q k') v: heads are tied; without an explicit scale the head size sets the scale and stays."""
    q, k, v, mask = call["query"], call["key"], call["value"], call["attn_mask"]
    call.tie(q.axes[-1], k.axes[-1])
    call.tie(k.axes[-2], v.axes[-2])
    call.fix(k, [-2], "softmax along it")
    if call["scale"] is None:
        call.fix(q, [-1], "the attention derives its scale from the head size")
    grouped = bool(call["enable_gqa"]) and q.shape[-3] != k.shape[-3]
    if grouped:
        call.tie(k.axes[-3], v.axes[-3])
        repeat = call.axes.leaf(q.shape[-3] // k.shape[-3])
        call.tie(q.axes[-3], call.axes.product([k.axes[-3], repeat]))
    cut = 3 if grouped else 2
    batch = broadcast(call, [TensorAxes(t.shape[:-cut], t.axes[:-cut]) for t in (q, k, v)], len(q.axes) - cut)
    batch = [*batch, q.axes[-3]] if grouped else batch
    if mask is not None:
        scores = TensorAxes((), [*batch, q.axes[-2], k.axes[-2]])
        broadcast(call, [scores, mask], len(scores.axes))
    return [*batch, q.axes[-2], v.axes[-1]]
