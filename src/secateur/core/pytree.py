"""Inputs and outputs nested in tuples, lists and dicts: other sizes of them, and plain JSON that names no class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from secateur.core.errors import SecateurError
from secateur.core.modules import PLAIN_NAMES, is_plain_name

Example = TypeVar("Example")

PLAIN = (str, int, float, bool, type(None))


def repeat(example: Example, count: int, axis: int = 0) -> Example:
    """An example of another batch: the first ``count`` entries along an axis of every tensor, from the start again
    where there are fewer. The tensors are contiguous.

    >>> repeat({"x": torch.tensor([1, 2, 3]), "scale": 0.5}, 5)
    {'x': tensor([1, 2, 3, 1, 2]), 'scale': 0.5}
    """
    def entries(value: Any) -> Any:
        if not isinstance(value, Tensor) or value.ndim <= axis:
            return value
        return value.index_select(axis, torch.arange(count, device=value.device) % value.shape[axis])

    repeated: Example = pytree.tree_map(entries, example)
    return repeated


def without_classes(value: Any) -> Any:
    """Outputs with dicts in place of other mappings and tuples in place of named ones.

    >>> from collections import OrderedDict
    >>> without_classes(OrderedDict(logits=(1, 2)))
    {'logits': (1, 2)}
    """
    if isinstance(value, Mapping):
        return {key: without_classes(inner) for key, inner in value.items()}
    if isinstance(value, (tuple, list)):
        return (list if isinstance(value, list) else tuple)(without_classes(inner) for inner in value)
    return value


def flatten(value: Any, leaf: Callable[[Any], Any]) -> dict[str, Any]:
    """A nested value as JSON. ``leaf`` turns each leaf, which is whatever is no tuple, list or dict, into JSON.

    >>> flatten({"x": (1, [2])}, str)
    {'dict': [['x', {'tuple': [{'leaf': '1'}, {'list': [{'leaf': '2'}]}]}]]}
    """
    if type(value) is dict and all(type(key) in (str, int) for key in value):
        return {"dict": [[key, flatten(inner, leaf)] for key, inner in value.items()]}
    if type(value) in (tuple, list):
        return {type(value).__name__: [flatten(inner, leaf) for inner in value]}
    return {"leaf": leaf(value)}


def unflatten(told: Any, leaf: Callable[[Any], Any]) -> Any:
    """The nested value that :func:`flatten` took apart.

    Raises:
        SecateurError: it is not what :func:`flatten` gives.

    >>> unflatten({"dict": [["x", {"tuple": [{"leaf": "1"}]}]]}, int)
    {'x': (1,)}
    """
    if type(told) is not dict or len(told) != 1:
        raise SecateurError("inputs or outputs have an unknown kind of nesting; allowed: tuple, list, dict")
    kind, inside = next(iter(told.items()))
    if kind == "leaf":
        return leaf(inside)
    if kind not in ("tuple", "list", "dict") or type(inside) is not list:
        raise SecateurError("inputs or outputs have an unknown kind of nesting; allowed: tuple, list, dict")
    if kind != "dict":
        return (tuple if kind == "tuple" else list)(unflatten(one, leaf) for one in inside)
    if any(type(pair) is not list or len(pair) != 2 or type(pair[0]) not in (str, int) for pair in inside):
        raise SecateurError("a dict of inputs or outputs has keys other than strings and whole numbers")
    if odd := [key for key, _ in inside if type(key) is str and not is_plain_name(key)]:
        raise SecateurError(f"a dict of inputs or outputs has the name {odd[0][:60]!r}; {PLAIN_NAMES}")
    return {key: unflatten(one, leaf) for key, one in inside}


def leaves(told: Any) -> list[Any]:
    """The leaves of what :func:`flatten` gave, in order."""
    found: list[Any] = []
    unflatten(told, found.append)
    return found
