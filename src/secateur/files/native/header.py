"""The header of a safetensors file, read by itself; every number in it is checked against the size of the file."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from secateur.core.errors import SecateurError
from secateur.files.native import strict

LONGEST = 100_000_000
"""Bytes that a header may have; safetensors has the same limit."""
_FREE = 4_000_000
_SHARE = 16
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2,
         "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1, "C64": 8}
FOREIGN = {b"PK\x03\x04": "a zip archive, such as torch.save and Keras write", b"\x80": "a pickle",
           b"\x89HDF": "an HDF5 file", b"GGUF": "a GGUF file", b"\x1f\x8b": "a gzip archive"}


@dataclass(frozen=True)
class Entry:
    """One tensor as the file holds it: ``dtype`` in the words of safetensors, ``start`` and ``end`` in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def bytes(self) -> int:
        """Its bytes."""
        return self.end - self.start


@dataclass(frozen=True)
class Header:
    """What precedes the tensors. ``text`` is its bytes as they are, ``size`` that of the whole file in bytes."""

    text: bytes
    metadata: dict[str, str]
    entries: dict[str, Entry]
    size: int


def open_file(path: Path) -> BinaryIO:
    """Open a file to read it. A pipe or a device is not opened: reading one could block for ever.

    Raises:
        SecateurError: it does not exist, is no file, or may not be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SecateurError(f"cannot read '{path}': it is a folder or a device, not a file")
        return path.open("rb")
    except SecateurError:
        raise
    except (OSError, ValueError) as error:
        raise SecateurError(f"cannot read '{path}': {getattr(error, 'strerror', None) or error}") from error


def read_header(file: BinaryIO, path: Path) -> Header:
    """The header of an open file.

    Raises:
        SecateurError: it is no safetensors file, or was cut short or altered.
    """
    whole = os.fstat(file.fileno()).st_size
    start = file.read(8)
    for magic, what in FOREIGN.items():
        if start.startswith(magic) and not _is_plausible(start, whole):
            raise SecateurError(f"'{path}' is {what}; allowed are safetensors files, no other file is opened")
    if len(start) < 8 or not _is_plausible(start, whole):
        raise SecateurError(f"'{path}' is not a valid safetensors file: its header does not fit its {whole} bytes")
    length = int.from_bytes(start, "little")
    check_length(length, whole, f"'{path}': the header")
    text = file.read(length)
    where = f"'{path}': the header"
    told = strict.typed(strict.read_json(text, where), dict, where)
    metadata = strict.typed(told.pop("__metadata__", {}), dict, f"{where}'s metadata")
    for name, value in metadata.items():
        strict.typed(value, str, f"{where}'s metadata '{strict.short(name)}'")
    base = 8 + len(text)
    entries = {name: _entry(value, base, f"'{path}': tensor '{strict.short(name)}'") for name, value in told.items()}
    _check_gapless(entries, base, whole, path)
    return Header(text, metadata, entries, whole)


def check_length(length: int, whole: int, what: str) -> None:
    """Refuse text of a file that is long beside the whole file: JSON takes up to 27 times its bytes when it is read.

    Raises:
        SecateurError: the text is longer than 4 MB and a sixteenth of the file.

    >>> check_length(5_000_000, 6_000_000, "the header")
    Traceback (most recent call last):
    secateur.core.errors.SecateurError: the header has 5000000 bytes; allowed in a file of 6000000 bytes are 4375000
    """
    if length > (most := _FREE + whole // _SHARE):
        raise SecateurError(f"{what} has {length} bytes; allowed in a file of {whole} bytes are {most}")


def _is_plausible(start: bytes, whole: int) -> bool:
    """Whether the first eight bytes can be the length of the header of a file of that many bytes."""
    return 2 <= int.from_bytes(start, "little") <= min(whole - 8, LONGEST)


def _entry(value: Any, base: int, what: str) -> Entry:
    """One tensor of the header.

    Raises:
        SecateurError: its type is unknown, or its bytes are not as many as its shape needs.
    """
    told = strict.fields(value, {"dtype", "shape", "data_offsets"}, what)
    kind, sides = strict.typed(told["dtype"], str, f"{what}: dtype"), strict.shape(told["shape"], f"{what}: shape")
    if kind not in BYTES:
        raise SecateurError(f"{what} is of type '{strict.short(kind)}'; allowed: {', '.join(BYTES)}")
    ends = [strict.size(v, f"{what}: offset") for v in strict.typed(told["data_offsets"], list, f"{what}: offsets")]
    if len(ends) != 2 or ends[1] - ends[0] != prod(sides) * BYTES[kind]:
        raise SecateurError(f"{what} is declared to lie in bytes {ends}; {kind} {list(sides)} needs "
                            f"{prod(sides) * BYTES[kind]} of them")
    return Entry(kind, sides, base + ends[0], base + ends[1])


def _check_gapless(entries: dict[str, Entry], base: int, whole: int, path: Path) -> None:
    """Refuse tensors that overlap, leave gaps, or do not end where the file ends."""
    at = base
    for name, one in sorted(entries.items(), key=lambda pair: (pair[1].start, pair[1].end)):
        if one.start != at:
            raise SecateurError(f"'{path}': tensor '{strict.short(name)}' begins at byte {one.start}, but the one "
                                f"before it ends at {at}")
        at = one.end
    if at != whole:
        raise SecateurError(f"'{path}' is not a valid safetensors file: its tensors end at byte {at}, it has {whole}")
