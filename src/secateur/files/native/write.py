"""The bytes of a file: the length of its header, the header, and the tensors."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from secateur.core.tensors import raw_bytes
from secateur.files.native import layout
from secateur.files.native.dtypes import word_of
from secateur.files.native.header import check_length
from secateur.files.native.sparse import Bytes


def write_parts(path: Path, metadata: Mapping[str, str], entries: layout.Parts, parts: Mapping[str, Bytes]) -> None:
    """Write a file of these entries; the header gets the checksums of the parts and of itself.

    Raises:
        SecateurError: header or graph would be too long for the file to be read again.
    """
    data = 0
    for name in entries:
        data = zlib.crc32(parts[name].data, data)
    text = layout.header({**metadata, "data": f"{data:08x}"}, entries)
    whole = 8 + len(text) + sum(parts[name].nbytes for name in entries)
    check_length(len(text), whole, "save: the header")
    check_length(int(metadata["program"]), whole, "save: the graph")
    blank, own = layout.CHECKSUM.format("0" * 8), layout.CHECKSUM.format(f"{zlib.crc32(text):08x}")
    _write(path, text.replace(blank.encode(), own.encode(), 1), (parts[name] for name in entries))


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a plain safetensors file: tensors under their names, dense, nothing else.

    Raises:
        SecateurError: a tensor is of a type that such a file cannot hold.
    """
    told = {n: layout.Stored("", tuple(t.shape), "dense", word_of(t, f"'{n}'"), None) for n, t in tensors.items()}
    entries = layout.entries(told)
    _write(path, layout.header({"format": "pt"}, entries), (raw_bytes(tensors[name]).numpy() for name in entries))


def _write(path: Path, header: bytes, parts: Iterable[Bytes]) -> None:
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little"))
        file.write(header)
        for part in parts:
            file.write(np.ascontiguousarray(part).data)
