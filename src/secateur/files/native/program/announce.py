"""What every call of a graph will give, worked out from shapes and types alone before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from secateur.core.errors import SecateurError, first_line
from secateur.files.native import sparse
from secateur.files.native.program.arguments import fill_in
from secateur.files.native.program.read import Call, Program
from secateur.files.native.program.rules import RULES, SCRATCH, Spec
from secateur.files.native.program.schema import bind

FREE = 2**28
"""Bytes that every graph may hold at once; beyond it a graph may hold 1024 times its tensors and inputs."""
_HERE = torch.device("cpu")
_WRONG = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def spec_of(value: Any) -> Any:
    """A tensor without its values, open sizes as they are in the trace; anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    sizes: tuple[Any, ...] = tuple(value.shape)
    return Spec(tuple(size if type(size) is int else size.node.hint for size in sizes), value.dtype)


def announce(program: Program, given: Sequence[Any]) -> list[Any]:
    """What each call gives, for the specs of stored tensors and inputs: a spec, a list of them, or a number.

    Raises:
        SecateurError: a rule refuses the arguments of a call, or the results need more memory than a file may ask for.
    """
    values, told = list(given), list[Any]()
    own = sum(map(_bytes, values))
    most, held = FREE + sparse.BOUND * own, own
    for number, call in enumerate(program.calls):
        try:
            result, scratch = _result(call, values)
        except _WRONG as error:
            raise SecateurError(f"{_where(number, call)}: {first_line(error)}") from error
        values.append(result)
        told.append(result)
        held += _bytes(result)
        if held + scratch > most:
            raise SecateurError(f"{_where(number, call)}: the graph needs {held + scratch} bytes at once; allowed for "
                                f"tensors and inputs of {own} bytes are {most}")
        for at in call.done:
            held -= _bytes(values[at])
            values[at] = None
    return told


def _where(number: int, call: Call) -> str:
    """What an error names a call."""
    return f"the graph's call {number}, {call.name}"


def check_result(got: Any, told: Any, number: int, call: Call, types: bool) -> None:
    """Refuse a result that is not the announced one; ``types`` says whether its type counts.

    Raises:
        SecateurError: shape, type or number of tensors differ.
    """
    if not _is_told(got, told, types):
        raise SecateurError(f"{_where(number, call)}: it gave {_describe(got)}, told was {told}")


def failed(error: Exception, number: int, call: Call) -> SecateurError:
    """The error for an operator that refused its arguments."""
    return SecateurError(f"{_where(number, call)}: {type(error).__name__}: {first_line(error)}")


def _result(call: Call, values: Sequence[Any]) -> tuple[Any, int]:
    """What a call gives, and the bytes that it needs beside that."""
    args = [fill_in(a, values, _HERE) for a in call.args]
    named = {k: fill_in(v, values, _HERE) for k, v in call.kwargs.items()}
    if call.name not in RULES:
        return call.function(*args, **named), 0
    bound = bind(call.function, args, named)
    return RULES[call.name](*bound), SCRATCH[call.name](*bound) if call.name in SCRATCH else 0


def _bytes(value: Any) -> int:
    """The bytes of a result; views count like copies, so that what is only repeated is bounded, too."""
    if type(value) is list:
        return sum(map(_bytes, value))
    return value.bytes if type(value) is Spec else 0


def _is_told(got: Any, told: Any, types: bool) -> bool:
    """Whether a result is as announced."""
    if type(told) is Spec:
        return isinstance(got, Tensor) and got.shape == told.shape and (not types or got.dtype is told.dtype)
    if type(told) is list:
        return isinstance(got, (tuple, list)) and len(got) == len(told) and all(
            _is_told(a, b, types) for a, b in zip(got, told, strict=True))
    return True


def _describe(got: Any) -> Any:
    """A result in words."""
    return [spec_of(one) for one in got] if isinstance(got, (tuple, list)) else spec_of(got)
