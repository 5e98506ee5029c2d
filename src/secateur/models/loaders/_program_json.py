"""The JSON of a ``.pt2``, field by field with exact types, and a copy of what is known alone: that is what torch reads.

A field of a newer torch is left out where it is empty and refused where it says something.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from secateur.core.errors import SecateurError
from secateur.files.native import strict
from secateur.models.loaders._calls import known
from secateur.models.loaders._program_fields import RECORDS, UNIONS, WHOLE
from secateur.models.loaders._sizes import plain

_TREES = {"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}
_PLAIN = {"bool": bool, "int": int}
_DEPTH = 200
_EMPTY: tuple[Any, ...] = (None, "", [], {}, False)


def read_graph(data: bytes, what: str) -> str:
    """The JSON of a program, checked and written anew.

    Raises:
        SecateurError: it is not valid JSON, or holds a field, a type, an operator or a size that is not known.
    """
    return json.dumps(_read("program", strict.read_json(data, what), what))


def read_payloads(data: bytes, what: str) -> dict[str, dict[str, Any]]:
    """What is told of the stored tensors, by name.

    Raises:
        SecateurError: as for a program; or a tensor is pickled.
    """
    found: dict[str, dict[str, Any]] = _read("payloads", strict.read_json(data, what), what).get("config", {})
    return found


def _read(kind: str, value: Any, what: str, depth: int = 0) -> Any:
    """A value of a kind, without what is not known of it."""
    if depth > _DEPTH:
        raise SecateurError(f"{what} nests deeper than {_DEPTH}")
    if kind.endswith("?"):
        return None if value is None else _read(kind[:-1], value, what, depth)
    if kind[0] == "[" and isinstance(value, list):
        return [_read(kind[1:-1], one, what, depth + 1) for one in value]
    if kind[0] == "{" and isinstance(value, dict):
        return {_read("text", key, what): _read(kind[1:-1], one, what, depth + 1) for key, one in value.items()}
    if kind in RECORDS and isinstance(value, dict):
        return _read_record(kind, value, what, depth)
    if kind in UNIONS and isinstance(value, dict) and len(value) == 1 and (key := next(iter(value))) in UNIONS[kind]:
        return {key: _read(UNIONS[kind][key], value[key], what, depth + 1)}
    if kind in _PLAIN and type(value) is _PLAIN[kind]:
        return value
    if kind in _READERS:
        return _READERS[kind](value, what)
    raise SecateurError(f"{what} has {strict.short(value)} where {kind.strip('[]{}')} belongs")


def _read_record(kind: str, value: dict[str, Any], what: str, depth: int) -> dict[str, Any]:
    """The known fields of a record."""
    known_fields = RECORDS[kind]
    if strange := [key for key, one in value.items() if key not in known_fields and one not in _EMPTY]:
        raise SecateurError(f"{what} has the unknown field '{strict.short(strange[0])}' in {kind}; allowed: "
                            f"{', '.join(known_fields)}")
    if kind in WHOLE and (missing := [key for key in known_fields if key not in value]):
        raise SecateurError(f"{what} lacks the field '{missing[0]}' in {kind}")
    return {key: _read(known_fields[key], one, what, depth + 1) for key, one in value.items() if key in known_fields}


def _text(value: Any, what: str) -> str:
    """A name or another text without control characters, and without what would end its quotes: torch makes code of a
    graph, in which names stand between quotes as they are."""
    if isinstance(value, str) and value.isprintable() and not set(value) & set("\"\\"):
        return value
    raise SecateurError(f"{what} has {strict.short(value)} where plain text belongs")


def _float(value: Any, what: str) -> Any:
    if type(value) in (int, float) or value in ("Infinity", "-Infinity", "NaN"):
        return value
    raise SecateurError(f"{what} has {strict.short(value)} where a number belongs")


def _nothing(value: Any, what: str) -> Any:
    if value in (None, [], {}):
        return value
    raise SecateurError(f"{what} holds {strict.short(value)}, an object of an unknown class; allowed are tensors and "
                        "plain values")


def _target(value: Any, what: str) -> str:
    if isinstance(value, str) and known(value):
        return value
    raise SecateurError(f"{what} calls '{strict.short(value)}'; allowed are operators of torch that compute (the list "
                        "is in SECURITY.md)")


def _size(value: Any, what: str) -> str:
    if isinstance(value, str) and plain(value):
        return value
    raise SecateurError(f"{what} has the size '{strict.short(value)}'; allowed are symbols, numbers, known functions")


def _tree(value: Any, what: str) -> str:
    """How inputs or outputs are nested, which torch reads from a text of JSON: tuples, lists and dictionaries alone."""
    found = strict.read_json(strict.typed(value, str, what), f"{what}: the nesting of inputs or outputs")
    if not (isinstance(found, list) and len(found) == 2 and found[0] == 1 and _is_tree(found[1])):
        raise SecateurError(f"{what} nests its inputs or outputs as {strict.short(value)}; allowed are tuples, lists "
                            "and dictionaries: export it again with these")
    return json.dumps(found)


def _is_tree(value: Any, depth: int = 0) -> bool:
    """Whether a part of a nesting is a leaf, a tuple, a list or a dictionary of plain names."""
    if depth > _DEPTH or not isinstance(value, dict) or value.keys() != {"type", "context", "children_spec"}:
        return False
    kind, context, children = value["type"], value["context"], value["children_spec"]
    if not isinstance(children, list) or not all(_is_tree(one, depth + 1) for one in children):
        return False
    if kind is None:
        return context is None and not children
    if kind not in _TREES or not isinstance(context, str):
        return False
    names = strict.read_json(context, "the nesting of inputs or outputs")
    return names is None or (isinstance(names, list) and all(type(one) in (str, int) for one in names))


def _metadata(value: Any, what: str) -> dict[str, str]:
    """Of what is noted beside a call only the modules around it: torch looks the rest up by its names."""
    stack = value.get("nn_module_stack") if isinstance(value, dict) else None
    return {"nn_module_stack": _text(stack, what)} if stack else {}


def _one_of(*allowed: Any) -> Callable[[Any, str], Any]:
    """A reader of a few values."""
    def read(value: Any, what: str) -> Any:
        if not any(type(value) is type(one) and value == one for one in allowed):
            raise SecateurError(f"{what} has {strict.short(value)}; allowed: {', '.join(map(str, allowed))}")
        return value

    return read


def _unpickled(value: Any, what: str) -> bool:
    if value is not False:
        raise SecateurError(f"{what} holds a pickled tensor, which can run any code; allowed are plain tensors")
    return value


def _member(value: Any, what: str) -> str:
    if isinstance(value, str) and re.fullmatch(r"(weight|tensor)_\d{1,9}", value, re.ASCII):
        return value
    raise SecateurError(f"{what} stores a tensor in '{strict.short(value)}'; allowed are weight_N and tensor_N")


def _count(value: Any, what: str) -> int:
    if type(value) is int and 0 <= value < 1 << 63:
        return value
    raise SecateurError(f"{what} has {strict.short(value)} where a size belongs")


_READERS: dict[str, Callable[[Any, str], Any]] = {
    "text": _text, "float": _float, "nothing": _nothing, "left_out": lambda *_: {}, "target": _target, "size": _size,
    "tree": _tree, "metadata": _metadata, "unpickled": _unpickled, "member": _member, "count": _count,
    "strided": _one_of(7), "device_type": _one_of("cpu", "cuda", "mps", "xpu"),
    "verifier": _one_of("TRAINING", "ATEN", "")}
