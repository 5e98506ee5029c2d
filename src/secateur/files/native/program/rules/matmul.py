"""Products of matrices and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch

from secateur.files.native.program.rules.base import (
    Spec,
    broadcast,
    is_number,
    need,
    product_work,
    promoted,
    rule,
    same_type,
    values_in,
)

_LONGEST = 200


def _rows(result: Spec, x: Spec, *_: Any) -> int:
    """Each value of the result is a sum over the last axis of the first operand."""
    return product_work(values_in(result) * x.shape[-1], x.dtype)


@rule("linear", work=_rows)
def linear(x: Spec, weight: Spec, bias: Spec | None) -> Spec:
    """``(…, inputs)`` to ``(…, outputs)``."""
    _check_types(x, weight, bias)
    need(len(weight.shape) == 2 and bool(x.shape) and x.shape[-1] == weight.shape[1], f"{x} by {weight}")
    need(bias is None or bias.shape == (weight.shape[0],), f"bias {bias} of {weight}")
    return Spec((*x.shape[:-1], weight.shape[0]), x.dtype)


def _copies(x: Spec, y: Spec) -> int:
    """Operands that are repeated over some axes of the batch are copied for it."""
    count = prod(broadcast(x.shape[:-2], y.shape[:-2]))
    return sum(count * prod(one.shape[-2:]) * one.dtype.itemsize for one in (x, y) if 1 < prod(one.shape[:-2]) < count)


@rule("matmul", scratch=_copies, work=_rows)
def matmul(x: Spec, y: Spec) -> Spec:
    """Vectors, matrices and batches of them."""
    _check_types(x, y)
    need(bool(x.shape) and bool(y.shape), f"{x} by {y}: a number is no matrix")
    need(x.shape[-1] == (y.shape[-2] if len(y.shape) > 1 else y.shape[0]), f"{x} by {y}")
    batch = broadcast(x.shape[:-2], y.shape[:-2])
    return Spec((*batch, *x.shape[-2:-1], *(y.shape[-1:] if len(y.shape) > 1 else ())), x.dtype)


@rule("mm bmm mv", work=_rows)
def plain_product(x: Spec, y: Spec) -> Spec:
    """A product of operands of fixed numbers of axes."""
    need(len(x.shape) == 3 or len(x.shape) == 2, f"{x} is no matrix")
    need(len(x.shape) == 2 or x.shape[:1] == y.shape[:1], f"batches of {x} and {y}")
    return matmul(x, y)


@rule("dot vdot", work=_rows)
def dot(x: Spec, y: Spec) -> Spec:
    """Two vectors to a number."""
    need(len(x.shape) == 1, f"{x} is no vector")
    return matmul(x, y)


@rule("outer ger")
def outer(x: Spec, y: Spec) -> Spec:
    """Two vectors to a matrix."""
    need((len(x.shape), len(y.shape)) == (1, 1), f"{x} and {y} are no vectors")
    return Spec((*x.shape, *y.shape), promoted(x, y))


@rule("addmm baddbmm addmv", work=lambda result, bias, x, *_: _rows(result, x))
def added_product(bias: Spec, x: Spec, y: Spec, beta: Any, alpha: Any) -> Spec:
    """A product with something added."""
    product = matmul(x, y)
    same_type(bias, x)
    need(broadcast(bias.shape, product.shape) == product.shape, f"{bias} and {product}")
    return product


@rule("bilinear", scratch=lambda x, y, weight, bias: 2 * prod(x.shape[:-1]) * prod(weight.shape) * 8,
      work=lambda result, x, y, weight, bias: product_work(2 * prod(x.shape[:-1]) * prod(weight.shape), x.dtype))
def bilinear(x: Spec, y: Spec, weight: Spec, bias: Spec | None) -> Spec:
    """A form in two inputs."""
    _check_types(x, y, weight, bias)
    need(len(weight.shape) == 3 and x.shape[:-1] == y.shape[:-1] and (x.shape[-1:], y.shape[-1:]) == (
        weight.shape[1:2], weight.shape[2:3]), f"{x} and {y} by {weight}")
    need(bias is None or bias.shape == weight.shape[:1], f"bias {bias} of {weight}")
    return Spec((*x.shape[:-1], weight.shape[0]), x.dtype)


def _scratch(equation: str, tensors: Sequence[Spec], path: Any) -> int:
    """The most that three operands or more are multiplied out to."""
    return 2 * prod(_letters(equation, tensors)[0].values()) * 8 if len(tensors) > 2 else 0


def _all_letters(result: Spec, equation: str, tensors: Sequence[Spec], path: Any) -> int:
    """Every operand by every value that all letters together name, the most that any order of the products takes."""
    return product_work(len(tensors) * prod(_letters(equation, tensors)[0].values()), tensors[0].dtype)


@rule("einsum", scratch=_scratch, work=_all_letters)
def einsum(equation: str, tensors: Sequence[Spec], path: Any) -> Spec:
    """Products by letters, such as ``bhd,bhd->bh`` and ``...i,ij``."""
    need(path is None, "a path is not allowed")
    sizes, result = _letters(equation, tensors)
    need(len(set(result)) == len(result) and set(result) <= set(sizes), f"the result of '{equation[:60]}'")
    need(is_number(same_type(*tensors)), f"{tensors[0]} has no fractions")
    return Spec(tuple(sizes[letter] for letter in result), tensors[0].dtype)


def _letters(equation: str, tensors: Sequence[Spec]) -> tuple[dict[str, int], list[str]]:
    """The size of each letter, and the letters of the result; an axis within dots is a number, counted from behind."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms, sizes, dots = left.split(","), dict[str, int](), 0
    need(len(equation) <= _LONGEST and len(terms) == len(tensors) and bool(tensors),
         f"'{equation[:60]}' for {len(tensors)} tensors")
    for term, tensor in zip(terms, tensors, strict=True):
        letters = _spread(term, len(tensor.shape), equation)
        dots = max(dots, sum(letter.isdigit() for letter in letters))
        for letter, size in zip(letters, tensor.shape, strict=True):
            known = sizes.get(letter, 1)
            need(1 in (known, size) or known == size, f"'{letter}' of '{equation[:60]}' is {known} and {size}")
            sizes[letter] = size if known == 1 else known
    if not arrow:
        once = sorted(c for c in set(left) if c.isalpha() and left.count(c) == 1)
        return sizes, [*map(str, reversed(range(dots))), *once]
    return sizes, _spread(right, len(right.replace("...", "")) + (dots if "..." in right else 0), equation)


def _spread(term: str, ndim: int, equation: str) -> list[str]:
    """The letters of one operand, with a number for each axis that its dots stand for."""
    first, dots, last = term.partition("...")
    inner = ndim - len(first) - len(last)
    need(all(c.isascii() and c.isalpha() for c in first + last) and (inner >= 0 if dots else inner == 0),
         f"'{term[:30]}' of '{equation[:60]}' for {ndim} axes")
    return [*first, *map(str, reversed(range(inner))), *last]


def _check_types(*tensors: Spec | None) -> None:
    """Refuse truth values, and tensors of several types."""
    need(same_type(*tensors) != torch.bool, "truth values have no product")
