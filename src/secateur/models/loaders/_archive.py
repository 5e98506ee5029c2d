"""Looks at a ``.pt2`` file before torch opens it: an exported program may hold pickles and text that is run as code."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from secateur.core.errors import SecateurError, first_line

_CALLED = re.compile(r"(torch\.ops\.(aten|prims|higher_order)\.|_operator\.|math\.|torch\.sym_)\w+(\.\w+)?")
_PICKLED = re.compile(r"(^|/)((custom|script)_obj_\w*|serialized_\w+\.pt|data\.pkl)$")
_CODE = re.compile(r"(^|/)(aotinductor|executorch)/")
WORDS = re.compile(r"[A-Za-z_]\w*")
KNOWN = {"Max", "Min", "Mod", "PythonMod", "FloorDiv", "CeilDiv", "CleanDiv", "ModularIndexing", "Where", "Eq", "Ne",
         "Gt", "Ge", "Lt", "Le", "And", "Or", "Not", "true", "false", "IntTrueDiv", "FloatTrueDiv", "PowByNatural",
         "ToFloat", "TruncToInt", "oo", "int_oo", "size", "stride", "storage_offset", "dtype", "and", "or", "not",
         "max", "min", "int", "Integer", "Rational", "Add", "Mul", "Pow", "positive", "integer", "nonnegative",
         "real", "finite", "evaluate", "floor", "True", "False", "None"}
_SYMBOL = re.compile(r"Symbol\('\w+'")
KEYS = re.compile(r"L(\[\s*(\"\w*\"|'\w*'|\d+)\s*\])+|L\[[\"']\w+[\"']\]")
LARGEST = 1 << 28


def read_checked(path: Path) -> io.BytesIO:
    """The bytes of an exported program without pickled objects, compiled code, and text that is no plain size or
    operator.

    torch reads the text of sizes and guards by evaluating it, looks operators up by their names, and unpickles what it
    cannot read otherwise; so only sizes made of symbols, numbers and known functions pass, only operators of torch
    itself, and only examples that torch reads without running code.

    Raises:
        SecateurError: the file is missing, no exported program, or holds something else; nothing of it was run.
    """
    try:
        held = io.BytesIO(path.read_bytes())
        with zipfile.ZipFile(held) as archive:
            names = [info.filename for info in archive.infolist()]
            if len(set(names)) < len(names):
                raise SecateurError(f"'{path}' holds several files of one name; allowed is each once")
            for info in archive.infolist():
                _check_member(path, archive, info)
    except OSError as error:
        raise SecateurError(f"cannot read '{path}': {error.strerror or first_line(error)}") from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
        raise SecateurError(f"'{path}' is no whole exported program: {first_line(error)}") from error
    if not any("/models/" in f"/{name}" and name.endswith(".json") for name in names):
        raise SecateurError(f"'{path}' is no exported program of torch 2.9 or newer: it holds no graph; write it again "
                            "with torch.export.save")
    held.seek(0)
    return held


def _check_member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Refuse pickles, code, graphs of anything unknown, and sizes that cannot be."""
    name = info.filename
    if _PICKLED.search(name) or _CODE.search(name):
        raise SecateurError(f"'{path}' holds '{name}', a pickle or compiled code, which could run anything; allowed "
                            "are exported programs of tensors and operators alone")
    if info.file_size > LARGEST and name.endswith(".json"):
        raise SecateurError(f"'{path}': the graph '{name}' would be {info.file_size} bytes, allowed {LARGEST}")
    if name.endswith(".json"):
        _check_graph(path, archive.read(info))
    elif "sample_inputs" in name or name.endswith((".pt", ".pkl", ".pth")):
        check_example(path, name, archive.read(info))


def check_example(path: Path, name: str, data: bytes) -> None:
    """Refuse example inputs that torch could read only by running code."""
    try:
        if data:
            torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise SecateurError(f"'{path}': '{name}' can be read only by running code of it ({type(error).__name__}); "
                            "allowed are tensors and plain values") from error


def _check_graph(path: Path, text: bytes) -> None:
    """Refuse a graph with operators or sizes that are not known."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SecateurError(f"'{path}' is no whole exported program: {first_line(error)}") from error
    for key, value in _texts(found):
        if key == "use_pickle":
            raise SecateurError(f"'{path}' holds a pickled tensor, which could run anything; allowed are plain ones")
        if key == "target" and not _CALLED.fullmatch(value):
            raise SecateurError(f"'{path}' calls '{value[:80]}'; allowed are operators of torch")
        if key in ("expr_str", "guards_code") and not plain(value):
            raise SecateurError(f"'{path}' has the size '{value[:80]}'; allowed are symbols, numbers, known functions")


def plain(text: str) -> bool:
    """Whether a text is made of symbols, numbers and known functions, so that evaluating it computes a size.

    >>> plain("Max(1, s0//2)"), plain("L['x'].size()[0] >= 2"), plain("__import__('os')")
    (True, True, False)
    """
    rest = KEYS.sub("0", _SYMBOL.sub("(0", text))
    words = WORDS.findall(rest)
    return re.fullmatch(r"[\w\s()\[\].,+\-*/%<>=!&|~^]*", rest) is not None and all(
        word in KNOWN or re.fullmatch(r"[suz][\w]*\d+|e\d*", word) for word in words)


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in nested values, and everything that is true, with the key that it or its list stands under."""
    waiting = [(key, value)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, str):
            yield key, value
        elif value is True:
            yield key, "true"
        elif isinstance(value, dict):
            waiting += [(str(k), v) for k, v in value.items()]
        elif isinstance(value, list):
            waiting += [(key, v) for v in value]
