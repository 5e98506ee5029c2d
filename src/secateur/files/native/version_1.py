"""Files of format 1: every tensor dense, one checksum over their values, inputs in the words of torch's pytree."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

from secateur.core.errors import SecateurError
from secateur.files.native import dtypes, layout, strict
from secateur.files.native.contents import Content
from secateur.files.native.header import Header
from secateur.files.native.sparse import Bytes
from secateur.files.native.steps import read_steps

TOLD = {"format", "secateur", "network", "steps", "checksum"}
KINDS = {"builtins.tuple": "tuple", "builtins.list": "list", "builtins.dict": "dict"}


def content(header: Header, path: Path) -> Content:
    """What the header of such a file tells.

    Raises:
        SecateurError: it is not as such files are.
    """
    meta = strict.fields(header.metadata, TOLD, f"'{path}': the metadata")
    tensors = {name: layout.Stored(dtypes.NAMES[one.dtype], one.shape, "dense", one.dtype, None)
               for name, one in header.entries.items()}
    where = f"'{path}': the header's steps"
    read = strict.typed(strict.read_json(meta["steps"], where), list, where)
    steps = read_steps([renewed(one, where) for one in read], where)
    return Content(path, 1, meta["secateur"], "", meta["network"], tensors, {}, steps, {}, 0, meta["checksum"], header)


def checksum(parts: dict[str, Bytes]) -> str:
    """The CRC-32 of all values in the order of their names, in hexadecimal."""
    total = 0
    for name in sorted(parts):
        total = zlib.crc32(parts[name].data, total)
    return f"{total:08x}"


def renewed(step: Any, where: str) -> dict[str, Any]:
    """A step of format 1 in the words of today: its example nested as :mod:`secateur.core.pytree` has it."""
    told = dict(strict.typed(step, dict, where))
    text = strict.typed(told.get("example", ""), str, where)
    return {**told, "example": example(strict.read_json(text, where), where) if text else ""}


def example(told: Any, where: str) -> str:
    """The inputs of a step; empty where they are nested in other kinds than tuples, lists and dicts."""
    read = strict.fields(told, {"leaves", "spec"}, where)
    leaves = list(strict.typed(read["leaves"], list, where))
    spec = strict.read_json(strict.typed(read["spec"], str, where), where)
    if strict.typed(spec, list, where)[:1] != [1] or len(spec) != 2:
        raise SecateurError(f"{where} nest their example in a way that is not known")
    try:
        found = nested(spec[1], leaves, where)
    except KeyError:
        return ""
    if leaves:
        raise SecateurError(f"{where} have {len(leaves)} inputs too many")
    return json.dumps(found)


def nested(spec: Any, leaves: list[Any], where: str) -> dict[str, Any]:
    """The part of an example below one node; takes its leaves off the list."""
    told = strict.fields(spec, {"type", "context", "children_spec"}, where)
    inside = strict.typed(told["children_spec"], list, where)
    if told["type"] is None:
        if not leaves or inside:
            raise SecateurError(f"{where} have an input too few")
        return {"leaf": leaves.pop(0)}
    kind = KINDS[strict.typed(told["type"], str, where)]
    parts = [nested(one, leaves, where) for one in inside]
    if kind != "dict":
        return {kind: parts}
    keys = strict.read_json(strict.typed(told["context"], str, where), where)
    if len(strict.typed(keys, list, where)) != len(parts):
        raise SecateurError(f"{where} have names for another number of inputs")
    return {"dict": [list(pair) for pair in zip(keys, parts, strict=True)]}
