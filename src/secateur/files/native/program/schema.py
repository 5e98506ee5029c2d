"""The arguments of a call in the order of its operator's schema, each of exactly the type that the schema asks for.

torch itself converts what it gets: it takes a whole number for a type or a truth value, and reads past its tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch

from secateur.core.errors import SecateurError
from secateur.files.native import strict
from secateur.files.native.program.rules import Spec

_MOST = 4096
_TYPES: dict[str, tuple[type, ...]] = {
    "Tensor": (Spec, bool, int, float), "int": (int,), "SymInt": (int,), "float": (int, float), "bool": (bool,),
    "str": (str,), "number": (bool, int, float), "ScalarType": (torch.dtype,), "MemoryFormat": (torch.memory_format,),
    "Layout": (torch.layout,), "Device": (torch.device,)}

"""What may be given for each type. A number stands for a tensor in arithmetic; other rules ask for the shape of it."""


class _Wanted(NamedTuple):
    """One argument: its name, the words of its type, its default, and whether it has one and a place in the row."""

    name: str
    kind: str
    default: Any
    has_default: bool
    by_name_only: bool


@cache
def _wanted(function: Any) -> tuple[_Wanted, ...]:
    """The arguments of an operator."""
    return tuple(_Wanted(a.name, str(a.real_type), a.default_value, a.has_default_value(), a.kwarg_only)
                 for a in function._schema.arguments)


def bind(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """Every argument of an operator's schema in order, defaults filled in.

    Raises:
        SecateurError: one is missing, too many, unknown, or of another type.

    >>> bind(torch.ops.aten.gelu.default, [Spec((2,), torch.float32)], {})
    [float32[2], 'none']
    """
    wanted, found, named = _wanted(function), [], dict(kwargs)
    given = iter(args)
    left = len(args)
    for one in wanted:
        if left and not one.by_name_only:
            value, left = next(given), left - 1
        elif one.name in named:
            value = named.pop(one.name)
        elif one.has_default:
            found.append(one.default)
            continue
        else:
            raise SecateurError(f"argument '{one.name}' is missing")
        if not _fits(value, one.kind):
            raise SecateurError(f"argument '{one.name}' is {strict.short(value)}, a {type(value).__name__}; allowed is "
                                f"{one.kind}")
        found.append([value] if "List[" in one.kind and type(value) in (int, float) else value)
    if left or named:
        raise SecateurError(f"{left + len(named)} arguments too many")
    return found


def _fits(value: Any, kind: str) -> bool:
    """Whether a value is of a type."""
    if kind.startswith("Optional["):
        return value is None or _fits(value, kind[9:-1])
    if kind.startswith("List["):
        inner = kind[5:-1]
        if type(value) is list:
            alike = (Spec,) if inner == "Tensor" else object
            return len(value) <= _MOST and all(isinstance(one, alike) and _fits(one, inner) for one in value)
        return inner in ("int", "SymInt", "float") and _fits(value, inner)
    if type(value) not in _TYPES.get(kind, ()):
        return False
    return type(value) is not int or abs(value) <= strict.MOST
