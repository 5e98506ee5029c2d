"""Files of format 1: every tensor dense, one checksum over their values, inputs in the words of torch's pytree."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from secateur.core.errors import SecateurError
from secateur.files.native import layout, strict
from secateur.files.native.facts import FileFacts
from secateur.files.native.header import Header
from secateur.files.native.sparse import Bytes
from secateur.files.native.steps import read_steps

FIELDS = {"format", "secateur", "network", "steps", "checksum"}
KINDS = {"builtins.tuple": "tuple", "builtins.list": "list", "builtins.dict": "dict"}


def read_facts(header: Header, path: Path) -> FileFacts:
    """What the header of such a file says.

    Raises:
        SecateurError: it is not as such files are.
    """
    meta, where = strict.fields(header.metadata, FIELDS, f"'{path}': the metadata"), f"'{path}': the header's steps"
    told = [strict.typed(one, dict, where) for one in strict.typed(strict.read_json(meta["steps"], where), list, where)]
    steps = read_steps([{**one, "example": _example(one.get("example", ""), where)} for one in told], where)
    return FileFacts(path, 1, meta["secateur"], "", meta["network"], layout.all_dense(header), {}, {}, steps, {}, 0,
                     meta["checksum"], header)


def checksum(parts: dict[str, Bytes]) -> str:
    """The CRC-32 of all values in the order of their names, in hexadecimal."""
    total = 0
    for name in sorted(parts):
        total = zlib.crc32(parts[name].data, total)
    return f"{total:08x}"


def _example(text: Any, where: str) -> str:
    """The inputs of a step nested as :mod:`secateur.core.pytree` has them, which checks what is in them.

    It is empty where the inputs are nested in other kinds than tuples, lists and dicts.
    """
    if not strict.typed(text, str, where):
        return ""
    told = strict.fields(strict.read_json(text, where), {"leaves", "spec"}, where)
    leaves = iter(strict.typed(told["leaves"], list, where))
    try:
        protocol, spec = strict.read_json(strict.typed(told["spec"], str, where), where)
        nested = _nested(spec, leaves, where)
        if protocol != 1 or next(leaves, None) is not None:
            raise ValueError("another protocol, or inputs too many")
    except KeyError:
        return ""
    except (TypeError, ValueError, StopIteration) as error:
        raise SecateurError(f"{where} have an unknown kind of nesting in their example") from error
    return json.dumps(nested)


def _nested(spec: Any, leaves: Iterator[Any], where: str) -> dict[str, Any]:
    """The part of an example below one node; raises ``KeyError`` for a kind that is not known."""
    told = strict.fields(spec, {"type", "context", "children_spec"}, where)
    inside = [_nested(one, leaves, where) for one in strict.typed(told["children_spec"], list, where)]
    if told["type"] is None:
        if inside:
            raise ValueError("a leaf with parts")
        return {"leaf": next(leaves)}
    kind = KINDS[told["type"]]
    if kind == "dict":
        return {kind: list(zip(strict.read_json(told["context"], where), inside, strict=True))}
    return {kind: inside}
