"""Bytes to a disk: a file appears whole under its name, or the old one stays as it was."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from torch import Tensor

from secateur.errors import SecateurError, first_line
from secateur.files import layout
from secateur.files.dtypes import raw, word_of
from secateur.files.sparse import Bytes


@contextmanager
def placed(path: Path) -> Iterator[Path]:
    """A file beside its place, moved there when the block is done: the data is on the disk before it has the name.

    Raises:
        SecateurError: there is no such folder, or it is full or read-only.
    """
    goal = Path(os.path.realpath(path))
    beside = goal.with_name(f".{goal.name}.{os.getpid()}.partial")
    try:
        if not goal.parent.is_dir():
            raise SecateurError(f"cannot write '{path}': there is no folder '{goal.parent}'")
        if goal.is_dir():
            raise SecateurError(f"cannot write '{path}': it is a folder")
        yield beside
        on_disk(beside)
        beside.replace(goal)
        on_disk(goal.parent)
    except OSError as error:
        raise SecateurError(f"cannot write '{path}': {error.strerror or first_line(error)}") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def on_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; systems that cannot open folders do not need it."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_parts(path: Path, metadata: Mapping[str, str], entries: layout.Parts, parts: Mapping[str, Bytes]) -> None:
    """Write a file of these entries; the header gets the checksums of the parts and of itself.

    Raises:
        SecateurError: the file cannot be written.
    """
    data = 0
    for name in entries:
        data = zlib.crc32(parts[name].data, data)
    text = layout.header({**metadata, "data": f"{data:08x}"}, entries)
    blank, own = layout.CHECKSUM.format("0" * 8), layout.CHECKSUM.format(f"{zlib.crc32(text):08x}")
    write_file(path, text.replace(blank.encode(), own.encode(), 1), [parts[name] for name in entries])


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a plain safetensors file: tensors under their names, dense, nothing else.

    Raises:
        SecateurError: the file cannot be written.
    """
    told = {n: layout.Stored("", tuple(t.shape), "dense", word_of(t, f"'{n}'"), None) for n, t in tensors.items()}
    entries = layout.entries(told)
    text = layout.header({"format": "pt"}, entries)
    write_file(path, text, (raw(tensors[name]).numpy() for name in entries))


def write_file(path: Path, text: bytes, parts: Iterable[Bytes]) -> None:
    """Write the length of a header, the header and what follows it."""
    with placed(path) as beside, beside.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for part in parts:
            file.write(np.ascontiguousarray(part).data)
