"""Bytes to a disk: a file appears whole under its name, or the old one stays as it was."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from secateur.core.paths import placed
from secateur.files.native import layout
from secateur.files.native.dtypes import raw, word_of
from secateur.files.native.sparse import Bytes


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
