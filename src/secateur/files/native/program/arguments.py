"""The arguments of operators as JSON: plain values, lists, torch's words for types and layouts, values before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import fx

from secateur.core.errors import SecateurError
from secateur.core.tensors import dtype_name
from secateur.files.native import dtypes, strict

WORDS = {"contiguous_format": torch.contiguous_format, "preserve_format": torch.preserve_format,
         "channels_last": torch.channels_last, "channels_last_3d": torch.channels_last_3d, "strided": torch.strided}
SPECIAL = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}


@dataclass(frozen=True)
class Ref:
    """A value that was there or computed before, by its position."""

    at: int


class Several(tuple[Any, ...]):
    """A list of arguments that has a :class:`Ref` in it."""


class _Device:
    """The device of the network."""


def to_json(value: Any, at: Callable[[fx.Node], int]) -> Any:
    """An argument of a traced call as JSON; ``at`` says where a node's value stands.

    Raises:
        SecateurError: it is nothing that a file can hold.
    """
    if isinstance(value, fx.Node):
        return {"at": at(value)}
    if isinstance(value, (list, tuple)):
        return [to_json(one, at) for one in value]
    if value is None or type(value) in (bool, int, str) or (type(value) is float and isfinite(value)):
        return value
    if type(value) is float:
        return {"float": str(value)}
    if isinstance(value, torch.dtype):
        return {"dtype": dtype_name(value)}
    if isinstance(value, torch.device):
        return {"device": "own"}
    if (word := str(value).removeprefix("torch.")) in WORDS:
        return {"word": word}
    raise SecateurError(f"an argument is {strict.short(value)}, {type(value).__name__}; a file holds numbers, texts, "
                        "lists, types and layouts")


def read(told: Any, before: int, what: str) -> Any:
    """An argument of a file, ready to be filled.

    Raises:
        SecateurError: it is of another kind, or refers to a value that is not computed before.
    """
    if isinstance(told, list):
        found = [read(one, before, what) for one in told]
        return Several(found) if any(isinstance(one, (Ref, Several, _Device)) for one in found) else found
    if not isinstance(told, dict):
        return told
    if len(told) == 1:
        kind, value = next(iter(told.items()))
        if kind == "at":
            if strict.size(value, what) >= before:
                raise SecateurError(f"{what} refers to value {value}, but only {before} come before it")
            return Ref(value)
        if kind == "dtype":
            return dtypes.dtype_of(value, what)
        if kind == "device" and value == "own":
            return _Device()
        known: dict[str, Any] = SPECIAL if kind == "float" else WORDS if kind == "word" else {}
        if isinstance(value, str) and value in known:
            return known[value]
    raise SecateurError(f"{what} has an unknown argument: {strict.short(told)}")


def fill_in(value: Any, values: Sequence[Any], device: torch.device | None) -> Any:
    """An argument with the values that it refers to."""
    if type(value) is Ref:
        return values[value.at]
    if type(value) is Several:
        return [fill_in(one, values, device) for one in value]
    return device if type(value) is _Device else value


def refs(value: Any) -> list[int]:
    """The positions that an argument refers to."""
    if type(value) is Several:
        return [at for one in value for at in refs(one)]
    return [value.at] if type(value) is Ref else []
