"""Looks at a ``.pt2`` file before torch opens it, and gives torch a new archive of what was looked at, nothing else."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.errors import SecateurError, first_line
from secateur.files.native import strict
from secateur.models.loaders._program_json import read_graph, read_payloads

GRAPH, EXAMPLE = "models/model.json", "data/sample_inputs/model.pt"
WEIGHTS, CONSTANTS = "data/weights/model_weights_config.json", "data/constants/model_constants_config.json"
_FIXED = {"archive_format": b"pt2", "archive_version": None, "byteorder": b"little", ".data/version": None}
_NUMBER = re.compile(rb"\d{1,6}\s*")
_TENSORS = re.compile(r"data/(weights/weight|constants/tensor)_\d{1,9}", re.ASCII)
_LEFT_OUT = re.compile(r"extra/.*|\.data/serialization_id")
LARGEST = 1 << 28
_EXPANDED = 1 << 24
"""As many values a tensor may have without bytes of their own: a small one expanded to the shape of another."""
_DTYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
           9: "complex32", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16",
           29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz", 34: "uint32",
           35: "uint64"}
"""The types of tensors by the numbers that torch's files have for them."""


def members(path: Path) -> list[tuple[str, int]]:
    """The names and sizes in an archive, as its directory tells them; nothing else of it is read.

    Raises:
        SecateurError: the file is missing, or no archive.
    """
    with _opened(path) as archive:
        return [(info.filename, info.file_size) for info in archive.infolist()]


def read_checked(path: Path) -> io.BytesIO:
    """An archive with the checked members of an exported program: its graph written anew from what is known in it, the
    bytes of its tensors, and its example inputs saved anew.

    torch unpickles what it cannot read otherwise, evaluates the text of sizes, and looks operators and classes up by
    their names; another reader may see other members in the same bytes. So torch gets none of these bytes to read, but
    an archive of the members, the fields of JSON and the operators that are known, none of which is a pickle, reads or
    writes a file, or loads code.

    Raises:
        SecateurError: the file is missing, no exported program, or holds anything else; nothing of it was run.
    """
    made = io.BytesIO()
    with _opened(path) as archive, zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as new:
        for name, data in _checked(archive, f"'{path}'"):
            new.writestr(f"archive/{name}", data)
    made.seek(0)
    return made


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive; what fails when it is read becomes one line."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except SecateurError:
        raise
    except OSError as error:
        raise SecateurError(f"cannot read '{path}': {error.strerror or first_line(error)}") from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, ValueError, struct.error) as error:
        raise SecateurError(f"'{path}' is not a valid exported program: {first_line(error)}") from error


def _checked(archive: zipfile.ZipFile, what: str) -> Iterator[tuple[str, bytes | str]]:
    """The members that torch gets, by their names below the archive's folder."""
    found = _find_members(archive, what)
    for name, info in found.items():
        data = archive.read(info)
        if name in (WEIGHTS, CONSTANTS):
            told = read_payloads(data, f"{what}: '{name}'")
            for payload in told.values():
                _check_tensor(payload, name, found, what)
            yield name, json.dumps({"config": told})
        elif name == GRAPH:
            yield name, read_graph(data, f"{what}: the graph")
        elif name == EXAMPLE:
            yield name, _saved_anew(read_example(data, f"{what}: '{name}'")) if data else data
        else:
            expected = _FIXED.get(name, data)
            if data != expected if expected is not None else not _NUMBER.fullmatch(data):
                raise SecateurError(f"{what}: '{name}' holds {strict.short(data)}, which torch does not write")
            yield name, data


def _find_members(archive: zipfile.ZipFile, what: str) -> dict[str, zipfile.ZipInfo]:
    """The members of an archive by their names below its folder, without those that nothing here needs.

    Raises:
        SecateurError: one is named twice, is compressed, is not known; or all unpack to more than the file has bytes.
    """
    infos, size = archive.infolist(), os.fstat(archive.fp.fileno()).st_size  # type: ignore[union-attr]
    if len({info.filename for info in infos}) < len(infos):
        raise SecateurError(f"{what} holds several files of the same name; allowed is one of each")
    if (total := sum(info.file_size for info in infos)) > size or any(i.compress_type for i in infos):
        raise SecateurError(f"{what} has {size} bytes and unpacks to {total}; allowed are uncompressed files, as "
                            "torch.export.save writes them")
    found = {info.filename.partition("/")[2]: info for info in infos}
    if GRAPH not in found:
        raise SecateurError(f"{what} is not an exported program of torch 2.9 or newer: it holds no graph; write it "
                            "again with torch.export.save")
    for name, info in found.items():
        if name.endswith(".json") and info.file_size > LARGEST:
            raise SecateurError(f"{what}: the graph '{name}' would be {info.file_size} bytes, allowed {LARGEST}")
        if not (name in {GRAPH, EXAMPLE, WEIGHTS, CONSTANTS, *_FIXED} or _TENSORS.fullmatch(name)
                or _LEFT_OUT.fullmatch(name)):
            raise SecateurError(f"{what} holds '{strict.short(name)}', which may be a pickle or compiled code, which "
                                "can run any code; allowed are exported programs of tensors and operators only")
    if len({info.filename.partition("/")[0] for info in infos}) > 1:
        raise SecateurError(f"{what} holds several folders; allowed is one")
    return {name: info for name, info in found.items() if not _LEFT_OUT.fullmatch(name)}


def _check_tensor(payload: dict[str, Any], config: str, found: dict[str, zipfile.ZipInfo], what: str) -> None:
    """Refuse a stored tensor of a type that is not known, without its bytes, or of more values than these hold."""
    told, name = payload.get("tensor_meta"), payload.get("path_name")
    info = found.get(f"{config.rpartition('/')[0]}/{name}")
    if info is None or told is None or payload.get("use_pickle") is not False or told.get("dtype") not in _DTYPES:
        raise SecateurError(f"{what}: '{config}' names '{name}', which is missing or is not a tensor")
    held = info.file_size // getattr(torch, _DTYPES[told["dtype"]]).itemsize
    if (count := prod(size["as_int"] for size in told["sizes"])) > (max(held, _EXPANDED) if held else 0):
        raise SecateurError(f"{what}: tensor '{name}' should have {count} values, but has bytes for {held}")


def read_example(data: bytes, what: str) -> Any:
    """Example inputs: tensors and plain values, which torch reads without running code.

    Raises:
        SecateurError: they are anything else, or unpack to more than they have bytes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as inner:
            infos = inner.infolist()
        if any(i.compress_type for i in infos) or sum(i.file_size for i in infos) > len(data):
            raise SecateurError(f"{what} unpacks to more than its {len(data)} bytes; allowed is what torch.save writes")
        found = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except SecateurError:
        raise
    except Exception as error:
        raise SecateurError(f"{what} can be read only by running code in it ({type(error).__name__}); "
                            "allowed are tensors and plain values") from error
    _check_values(found, len(data), what)
    return found


def _check_values(value: Any, size: int, what: str) -> None:
    """Refuse what is no tensor of plain memory and no plain value, and tensors larger than their bytes."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if type(one) in (Tensor, nn.Parameter):
            if one.layout != torch.strided or one.is_quantized or one.is_nested or (
                    one.numel() > max(size // one.element_size(), _EXPANDED)):
                raise SecateurError(f"{what} holds a tensor of {one.numel()} values, too many for its {size} bytes")
        elif isinstance(one, (list, tuple)):
            waiting += one
        elif type(one) in (dict, OrderedDict):
            waiting += [*one.keys(), *one.values()]
        elif type(one) not in (int, float, complex, bool, str, NoneType, torch.dtype, torch.device):
            raise SecateurError(f"{what} holds a {type(one).__name__}; allowed are tensors and plain values")


def _saved_anew(value: Any) -> bytes:
    """What torch saves of a value."""
    made = io.BytesIO()
    torch.save(value, made)
    return made.getvalue()
