"""What a rule is, and what rules share: shapes and types of tensors as plain values, and how they combine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from math import prod
from typing import Any, NamedTuple

import torch

from secateur.core.errors import SecateurError
from secateur.core.tensors import dtype_name

MOST_AXES = 16
MOST_SIZE = 2**40
Sizes = tuple[int, ...]


class Spec(NamedTuple):
    """A tensor without its values."""

    shape: Sizes
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """What its values take."""
        return prod(self.shape) * self.dtype.itemsize

    def __repr__(self) -> str:
        return f"{dtype_name(self.dtype)}{list(self.shape)}"



Result = Any
"""What an operator gives: a :class:`Spec`, a list of them, or a number."""
Rule = Callable[..., Result]
RULES: dict[str, Rule] = {}
SCRATCH: dict[str, Callable[..., int]] = {}
"""For operators that take memory beside their result: how many bytes, for the same arguments."""
WORK: dict[str, Callable[..., int]] = {}
"""For operators that do more than to read and write each value once: how many operations beside that, for the result
and the same arguments. One operation is a multiplication or an addition within a product of matrices."""
VALUE = 2**8
"""Operations that a value counts as which is read or written: what takes the time of a slow function of one."""


def rule(names: str, scratch: Callable[..., int] | None = None, work: Callable[..., int] | None = None,
         space: str = "aten") -> Callable[[Rule], Rule]:
    """Register a rule for operators of ATen, or of another ``space``, named as in ``add.Tensor gelu``; one overload
    alone is ``default``.

    The rule gets every argument of the operator's schema in order: a :class:`Spec` for a tensor, torch's types and
    words, plain numbers, lists. It gives the result's spec, or raises.
    """
    def register(function: Rule) -> Rule:
        for name in names.split():
            full = f"{space}.{name}" if "." in name else f"{space}.{name}.default"
            RULES[full] = function
            if scratch:
                SCRATCH[full] = scratch
            if work:
                WORK[full] = work
        return function
    return register


def values_in(result: Result) -> int:
    """How many values the tensors of a result have.

    >>> values_in([Spec((2, 3), torch.float32), 5])
    6
    """
    if isinstance(result, Spec):
        return prod(result.shape)
    return sum(map(values_in, result)) if isinstance(result, (list, tuple)) else 0


def product_work(count: int, kind: torch.dtype) -> int:
    """The operations of so many multiplications, each with an addition, of numbers of a type.

    Whole numbers have no fast product of matrices; a complex product is four.
    """
    return 2 * count * (1 if kind.is_floating_point else 4 if kind.is_complex else 16)


def need(held: bool, why: str) -> None:
    """Refuse arguments.

    Raises:
        SecateurError: what is needed does not hold.
    """
    if not held:
        raise SecateurError(why)


def check_size(sizes: Sequence[int], least: int = 0, what: str = "a size") -> Sizes:
    """Whole numbers from ``least`` on, none beyond what any tensor has."""
    for size in sizes:
        if not least <= size <= MOST_SIZE:
            raise SecateurError(f"{what} is {size}, allowed is {least} to {MOST_SIZE}")
    return tuple(sizes)


def check_axis(axis: int, ndim: int) -> int:
    """An axis counted from the front.

    >>> check_axis(-1, 3)
    2
    """
    least = max(ndim, 1)
    if not -least <= axis < least:
        raise SecateurError(f"axis {axis} of {ndim}")
    return axis % least


def check_axes(axes: Sequence[int] | None, ndim: int) -> list[int]:
    """Axes counted from the front, each once; all where none is given."""
    if not axes:
        return list(range(ndim))
    found = [check_axis(axis, ndim) for axis in axes]
    need(len(set(found)) == len(found), f"axes {list(axes)} are not each another one")
    return found


def check_tuple(value: Any, count: int, least: int, what: str) -> Sizes:
    """``count`` numbers; one stands for all of them."""
    given = [value] if isinstance(value, int) else list(value)
    need(len(given) in (1, count), f"{what} has {len(given)} numbers; expected {count}")
    return check_size(given * count if len(given) == 1 else given, least, what)


def broadcast(*shapes: Sequence[int]) -> Sizes:
    """The shape that shapes have together.

    >>> broadcast((3, 1), (5,))
    (3, 5)
    """
    if all(shape == shapes[0] for shape in shapes):
        return tuple(shapes[0])
    found = [1] * max(map(len, shapes))
    for shape in shapes:
        for back, size in enumerate(reversed(shape), 1):
            if size != 1 and found[-back] not in (1, size):
                raise SecateurError(f"shapes {', '.join(str(list(s)) for s in shapes)} do not fit each other")
            found[-back] = size if size != 1 else found[-back]
    return tuple(found)


def same_type(*values: Any) -> torch.dtype:
    """The type that tensors have; None among them is passed over."""
    found = [value.dtype for value in values if value is not None]
    need(all(kind == found[0] for kind in found), f"types {', '.join(map(dtype_name, found))} are not one")
    return found[0]


def floating(*values: Any) -> torch.dtype:
    """The type that tensors of numbers with a fraction have."""
    found = same_type(*values)
    need(found.is_floating_point, f"type {dtype_name(found)} has no fractions")
    return found


def is_number(dtype: torch.dtype) -> bool:
    """Whether a type is one of fractions, complex ones among them."""
    return dtype.is_floating_point or dtype.is_complex


def as_float(dtype: torch.dtype) -> torch.dtype:
    """The type of a quotient or a sine."""
    return dtype if is_number(dtype) else torch.get_default_dtype()


def promoted(*values: Any) -> torch.dtype:
    """The type of a result of tensors and numbers: tensors with axes first, then those without, then numbers.

    >>> promoted(Spec((2,), torch.float16), Spec((), torch.float64)), promoted(Spec((2,), torch.int64), 0.5)
    (torch.float16, torch.float32)
    """
    ranks: tuple[list[torch.dtype], ...] = ([], [], [])
    for value in values:
        if isinstance(value, Spec):
            ranks[0 if value.shape else 1].append(value.dtype)
        else:
            ranks[2].append(_type_of(value))
    first, *others = (reduce(torch.promote_types, kinds) for kinds in ranks if kinds)
    for kind in others:
        if _category(kind) > _category(first):
            first = torch.promote_types(first, torch.complex32) if kind.is_complex and first.is_floating_point else kind
    return first


def _type_of(number: Any) -> torch.dtype:
    """The type that a number counts as."""
    if isinstance(number, bool):
        return torch.bool
    return torch.int64 if isinstance(number, int) else torch.get_default_dtype()


def _category(kind: torch.dtype) -> int:
    """How types rank: truth values, whole numbers, fractions, complex numbers."""
    return 3 if kind.is_complex else 2 if kind.is_floating_point else 0 if kind == torch.bool else 1
