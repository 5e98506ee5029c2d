"""Conditions on the sizes of inputs, as torch tells them and as a file holds them: arithmetic and nothing else."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from torch import Tensor

from secateur.core.errors import SecateurError
from secateur.files.native import strict

NUMBERS: dict[type, tuple[str, Callable[..., Any]]] = {
    ast.Add: ("+", operator.add), ast.Sub: ("-", operator.sub), ast.Mult: ("*", operator.mul),
    ast.FloorDiv: ("//", operator.floordiv), ast.Mod: ("%", operator.mod), ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne), ast.Lt: ("<", operator.lt), ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt), ast.GtE: (">=", operator.ge)}
_OPERATORS = dict(NUMBERS.values())
WORDS = {ast.And: "and", ast.Or: "or"}


def to_json(guard: str) -> Any:
    """A condition such as ``L['x'].size()[0] % 2 == 0`` as JSON.

    Raises:
        SecateurError: it is more than arithmetic on sizes.

    >>> to_json("L['x'].size()[0] % 2 == 0")
    ['==', ['%', ['size', ['x'], 0], 2], 0]
    """
    return expression(ast.parse(guard, mode="eval").body, guard)


def expression(node: ast.expr, guard: str) -> Any:
    """One part of a condition."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in NUMBERS:
        return [NUMBERS[type(node.op)][0], expression(node.left, guard), expression(node.right, guard)]
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in NUMBERS:
        return [NUMBERS[type(node.ops[0])][0], expression(node.left, guard), expression(node.comparators[0], guard)]
    if isinstance(node, ast.BoolOp):
        return [WORDS[type(node.op)], *(expression(one, guard) for one in node.values)]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        inner = expression(node.operand, guard)
        return ["not", inner] if isinstance(node.op, ast.Not) else ["-", 0, inner]
    if (isinstance(node, ast.Subscript) and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Attribute) and node.value.func.attr == "size" and not node.value.args):
        return ["size", path(node.value.func.value, guard), key(node.slice, guard)]
    raise SecateurError(f"the graph is valid only if {strict.short(guard)}, a condition that a file cannot store")


def path(node: ast.expr, guard: str) -> list[Any]:
    """Where an input stands: its name, then positions and names inside it."""
    if isinstance(node, ast.Name) and node.id == "L":
        return []
    if isinstance(node, ast.Subscript):
        return [*path(node.value, guard), key(node.slice, guard)]
    raise SecateurError(f"the graph is valid only if {strict.short(guard)}, a condition that a file cannot store")


def key(node: ast.expr, guard: str) -> Any:
    """A name or a position."""
    if isinstance(node, ast.Constant) and type(node.value) in (str, int):
        return node.value
    raise SecateurError(f"the graph is valid only if {strict.short(guard)}, a condition that a file cannot store")


def check_condition(told: Any, what: str) -> Any:
    """A condition of a file, as it is.

    Raises:
        SecateurError: it is none that :func:`to_json` writes.
    """
    if type(told) is int:
        return told
    first, *rest = strict.typed(told, list, what) or [None]
    if first == "size" and len(rest) == 2 and isinstance(rest[0], list):
        if type(rest[1]) is int and all(type(k) in (str, int) for k in rest[0]):
            return told
    elif (first in ("and", "or") and rest) or (first == "not" and len(rest) == 1) or (
            isinstance(first, str) and first in _OPERATORS and len(rest) == 2):
        for one in rest:
            check_condition(one, what)
        return told
    raise SecateurError(f"{what} hold an unknown condition: {strict.short(told)}")


def value(told: Any, given: dict[str, Any]) -> Any:
    """A condition or a part of it for inputs by name.

    >>> import torch
    >>> value(["==", ["size", ["x"], 0], 2], {"x": torch.zeros(2, 3)})
    True
    """
    if type(told) is int:
        return told
    first, *rest = told
    if first == "size":
        return size(given, *rest)
    if first in ("and", "or"):
        return (all if first == "and" else any)(value(one, given) for one in rest)
    if first == "not":
        return not value(rest[0], given)
    try:
        found = _OPERATORS[first](*(value(one, given) for one in rest))
    except ArithmeticError as error:
        raise SecateurError(f"the graph's condition {strict.short(describe_condition(told))}: {error}") from error
    if isinstance(found, int) and abs(found) > strict.MOST:
        raise SecateurError(f"the graph's condition {strict.short(describe_condition(told))} is beyond 64 bits")
    return found


def size(given: Any, keys: list[Any], axis: int) -> Any:
    """The size of an axis of an input."""
    try:
        for one in keys:
            given = given[one]
        if isinstance(given, Tensor):
            return given.shape[axis]
    except (KeyError, IndexError, TypeError):
        pass
    raise SecateurError(f"the graph's condition refers to input {strict.short(keys)}, which does not exist")


def describe_condition(told: Any) -> str:
    """A condition in words.

    >>> describe_condition(["==", ["%", ["size", ["x"], 0], 2], 0])
    '((size 0 of x % 2) == 0)'
    """
    if type(told) is int:
        return str(told)
    first, *rest = told
    if first == "size":
        return f"size {rest[1]} of {'.'.join(map(str, rest[0]))}"
    if first == "not":
        return f"not {describe_condition(rest[0])}"
    return "(" + f" {first} ".join(map(describe_condition, rest)) + ")"
