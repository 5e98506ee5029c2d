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
from secateur.files.native.program.rules import RULES, SCRATCH, VALUE, WORK, Spec, values_in
from secateur.files.native.program.schema import bind

FREE = 2**28
"""Bytes that every graph may hold at once; beyond it a graph may hold 1024 times its tensors and inputs."""
FREE_WORK = 2**41
"""Operations that every graph may do in one run; beyond it a graph may do :data:`WORK_A_BYTE` for each byte of its
tensors and inputs. One takes some 0.03 ns on a core of today, so this is about a minute.

Both are generous for networks of the field. A convolution does most for its bytes, as it sums all weights of its layer
over each pixel: the first U-Net takes 0.25% of this for an image of 512 by 512, 10% for one of 4096 by 4096; EDSR, 43
million weights at the full size of the image, takes 30% for one of 1024 by 1024, and reaches it at four million pixels.
A decoder with a context of 8,192 does 4,096 operations for each byte of its weights.
"""
WORK_A_BYTE = 2**21
_CALL = 2**17
"""Operations that each call and each tensor that it gives count as, however small they are."""
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
        SecateurError: a rule refuses the arguments of a call, the results need more memory than a file may ask for, or
            to compute them takes more operations than a file may ask for that nobody vouches for.
    """
    values, told = list(given), list[Any]()
    own = sum(map(_bytes, values))
    most, held = FREE + sparse.BOUND * own, own
    most_work, done = FREE_WORK + WORK_A_BYTE * own, 0
    for number, call in enumerate(program.calls):
        try:
            result, scratch, work = _result(call, values)
        except _WRONG as error:
            raise SecateurError(f"{_where(number, call)}: {first_line(error)}") from error
        values.append(result)
        told.append(result)
        held += _bytes(result)
        if held + scratch > most:
            raise SecateurError(f"{_where(number, call)}: the graph needs {held + scratch} bytes at once; allowed for "
                                f"tensors and inputs of {own} bytes are {most}")
        done += work
        if done > most_work and not program.trusted:
            raise SecateurError(f"{_where(number, call)}: the graph does {done:.2g} operations up to there; allowed "
                                f"for tensors and inputs of {own} bytes are {most_work:.2g}: give trusted=True "
                                "(--trust) if you know where the file comes from")
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
        raise SecateurError(f"{_where(number, call)}: it returned {_describe(got)}, declared was {told}")


def failed(error: Exception, number: int, call: Call) -> SecateurError:
    """The error for an operator that refused its arguments."""
    return SecateurError(f"{_where(number, call)}: {type(error).__name__}: {first_line(error)}")


def _result(call: Call, values: Sequence[Any]) -> tuple[Any, int, int]:
    """What a call gives, the bytes that it needs beside that, and the operations that it does."""
    args = [fill_in(a, values, _HERE) for a in call.args]
    named = {k: fill_in(v, values, _HERE) for k, v in call.kwargs.items()}
    if call.name not in RULES:
        return call.function(*args, **named), 0, _CALL
    bound = bind(call.function, args, named)
    result = RULES[call.name](*bound)
    scratch = SCRATCH[call.name](*bound) if call.name in SCRATCH else 0
    return result, scratch, _work(call.name, bound, result)


def _work(name: str, bound: Sequence[Any], result: Any) -> int:
    """The operations of a call: each value that it reads or writes, each tensor that it gives, and what its rule
    knows of."""
    views = RULES[name].__module__.endswith(".views")
    moved = VALUE * (values_in(result) + (0 if views else values_in(bound)))
    several = len(result) if type(result) is list else 1
    return moved + _CALL * several + (WORK[name](result, *bound) if name in WORK else 0)


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
