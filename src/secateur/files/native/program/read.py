"""A graph out of a file, checked before anything is built of it: every name, position, size and operator."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch.utils import _pytree as pytree

from secateur.core import pytree as nested
from secateur.core.errors import SecateurError
from secateur.files.native import strict
from secateur.files.native.program import arguments, conditions, operators
from secateur.files.native.program.memory import Part
from secateur.files.native.program.rewrite import rewrite
from secateur.files.native.steps import check_leaves
from secateur.graph.cut.signature import GraphInputs, Guard

PARTS = {"tensors", "takes", "calls", "gives", "parameters", "frozen", "example"}
KINDS = list(inspect._ParameterKind)
_SHOWN = 12


@dataclass(frozen=True)
class Call:
    """One operator: what it does, its arguments, and which values are not needed after it."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    done: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Program:
    """A graph: the stored tensors by name, then the inputs, then what each call gives, are its values in order.

    ``gives`` are its outputs, nested, each a place among the values; ``parameters`` and ``frozen`` name the tensors
    that are parameters, and those of them that do not learn; ``text`` is what the file holds; ``example`` tells types
    and shapes of the inputs that it was traced with, empty in files of before; ``checked`` says whether a rule covers
    every call, which it may lack in files that the caller trusts only; ``trusted`` whether this is one.
    """

    tensors: list[str]
    taken: GraphInputs
    calls: list[Call]
    gives: Any
    parameters: list[str]
    frozen: frozenset[str]
    text: bytes
    example: str = ""
    checked: bool = True
    trusted: bool = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        """Itself, as nothing changes it: torch warns where the description of the inputs in it is copied."""
        return self


def read(text: bytes, known: set[str], where: str, trusted: bool = False) -> Program:
    """The graph of a file whose tensors have these names.

    Operators of earlier versions are rewritten into those that have rules. What cannot be is refused; where the file is
    ``trusted``, such a graph runs as it is, and nothing of it is checked.

    Raises:
        SecateurError: it is none that :mod:`secateur.files.native.program.write` writes, or no rule covers it.
    """
    raw = strict.typed(strict.read_json(text, where), dict, where)
    told = strict.fields({"example": "", **raw}, PARTS, where)
    check_leaves(told["example"], f"{where}'s example")
    tensors, parameters, frozen = (names(told[key], known, where) for key in ("tensors", "parameters", "frozen"))
    taken = _read_takes(told["takes"], f"{where}'s inputs")
    start = len(tensors) + len(taken.like)
    old = [_read_call(one, start + i, f"{where}'s call {i}")
           for i, one in enumerate(strict.typed(told["calls"], list, where))]
    gives = nested.unflatten(told["gives"], lambda one: arguments.read(one, start + len(old), f"{where}'s output"))
    parts, outputs, wrong = rewrite(old, len(tensors), start, gives)
    if wrong and not trusted:
        shown = ", ".join(map(strict.short, wrong[:_SHOWN])) + (", …" if len(wrong) > _SHOWN else "")
        raise SecateurError(f"{where} has operators that no rule covers: {shown}; they could read and write foreign "
                            "memory: give trusted=True (--trust) if you know where the file comes from")
    if wrong:
        parts, outputs = old, gives
    calls = [Call(name, operators.operation(name), args, kwargs) for name, args, kwargs in parts]
    return Program(tensors, taken, _with_ends(calls, start, outputs), outputs, parameters, frozenset(frozen), text,
                   told["example"], not wrong, trusted)


def names(told: Any, known: set[str], where: str) -> list[str]:
    """Names of tensors of the file."""
    found = strict.typed(told, list, where)
    if odd := [n for n in found if not isinstance(n, str) or n not in known]:
        raise SecateurError(f"{where} names the tensor '{strict.short(odd[0])}', which the file does not hold")
    return list(found)


def _read_call(told: Any, before: int, what: str) -> Part:
    """One operator by its name, and its arguments."""
    parts = strict.typed(told, list, what)
    if len(parts) not in (2, 3):
        raise SecateurError(f"{what} has {len(parts)} parts; expected an operator and its arguments")
    name = strict.typed(parts[0], str, what)
    operators.operation(name)
    args = tuple(arguments.read(a, before, what) for a in strict.typed(parts[1], list, what))
    named = strict.typed(parts[2], dict, what) if len(parts) == 3 else {}
    return name, args, {k: arguments.read(v, before, what) for k, v in named.items()}


def _with_ends(calls: list[Call], start: int, gives: Any) -> list[Call]:
    """The calls, each with the values that no later one needs."""
    last = {at: len(calls) for one in pytree.tree_leaves(gives) for at in arguments.refs(one)}
    done: list[list[int]] = [[] for _ in calls]
    for i in reversed(range(len(calls))):
        used = {at for one in (*calls[i].args, *calls[i].kwargs.values()) for at in arguments.refs(one)}
        for at in used | {start + i}:
            if at not in last:
                last[at] = i
                done[i].append(at)
    return [Call(c.name, c.function, c.args, c.kwargs, tuple(ends)) for c, ends in zip(calls, done, strict=True)]


def _read_takes(value: Any, what: str) -> GraphInputs:
    """What the graph takes."""
    told = strict.fields(value, {"parameters", "inputs", "like", "guards"}, what)
    parameters = [_read_parameter(one, what) for one in strict.typed(told["parameters"], list, what)]
    inputs = strict.typed(nested.unflatten(told["inputs"], lambda at: strict.size(at, what)), dict, what)
    for name in inputs:
        strict.typed(name, str, f"the name of one of {what}")
    like = [_read_like(one, what) for one in strict.typed(told["like"], list, what)]
    if sorted(pytree.tree_leaves(inputs)) != list(range(len(like))):
        raise SecateurError(f"{what} are {len(like)}, but their positions do not match")
    guards: list[Guard] = [(conditions.describe_condition(one), partial(conditions.value, one)) for one in
                           (conditions.check_condition(one, what) for one in strict.typed(told["guards"], list, what))]
    try:
        return GraphInputs(parameters, inputs, like, guards)
    except (ValueError, IndexError) as error:
        raise SecateurError(f"{what} have names that are not valid for a function: {strict.short(error)}") from error


def _read_parameter(value: Any, what: str) -> tuple[str, Any, bool]:
    """One name of the forward: the name, its kind, whether it has a default."""
    told = strict.typed(value, list, what)
    if len(told) != 3 or strict.size(told[1], what) >= len(KINDS):
        raise SecateurError(f"{what} are declared as {strict.short(told)}")
    return strict.typed(told[0], str, what), KINDS[told[1]], strict.typed(told[2], bool, what)


def _read_like(value: Any, what: str) -> Any:
    """What one input must be."""
    told = strict.typed(value, dict, what)
    if set(told) == {"sizes"}:
        return tuple(None if one is None else strict.size(one, what) for one in strict.typed(told["sizes"], list, what))
    if set(told) == {"value"} and type(told["value"]) in nested.PLAIN:
        return told["value"]
    raise SecateurError(f"{what} are declared as {strict.short(told)}")
