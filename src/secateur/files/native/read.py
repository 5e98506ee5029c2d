"""What a file says of itself, from its header alone, and then its tensors."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from torch import Tensor

from secateur.core.errors import SecateurError
from secateur.core.paths import path_of
from secateur.core.version import __version__
from secateur.files.native import layout, sparse, strict, version_1
from secateur.files.native.facts import FileFacts
from secateur.files.native.header import Header, check_length, open_file, read_header
from secateur.files.native.low_bits import read_layers
from secateur.files.native.steps import read_steps

FIELDS = {"format", "secateur", "torch", "network", "tensors", "layers", "steps", "settings", "program", "data",
          "checksum"}


def tell(path: str | Path) -> FileFacts:
    """What a file of :func:`secateur.save` holds, read from its header alone.

    The checksum of the header is checked, that of the tensors is not.

    Raises:
        SecateurError: the file is missing, damaged, of other origin, or of a later format.

    >>> import tempfile, torch, secateur as sc
    >>> path = sc.save(sc.prune(torch.nn.Linear(64, 64), 0.9), tempfile.mkdtemp() + "/net.safetensors")
    >>> facts = tell(path)
    >>> facts.network, facts.tensors[0].form, facts.cuts[0].before, facts.cuts[0].after
    ('Linear', 'gaps', 4096, 410)
    """
    path = path_of("tell", path)
    with open_file(path) as file:
        return _read_facts(file, path)


def _read_facts(file: BinaryIO, path: Path) -> FileFacts:
    """The header of an open file, checked.

    Raises:
        SecateurError: the file is damaged, of other origin, or of a later format.
    """
    header = read_header(file, path)
    version = _version_of(header.metadata, path)
    if version == 1:
        return version_1.read_facts(header, path)
    strict.fields(header.metadata, FIELDS - {"layers"} if version == 2 else FIELDS, f"'{path}': the metadata")
    _check_own(header, path)
    meta, where = header.metadata, f"'{path}': the header's"
    tensors = layout.read_tensors(meta["tensors"], f"{where} tensors")
    settings = strict.typed(strict.read_json(meta["settings"], f"{where} settings"), dict, f"{where} settings")
    program = strict.size(strict.read_json(meta["program"], f"{where} program"), f"{where} program")
    check_length(program, header.size, f"'{path}': the graph")
    entries = layout.entries(tensors, program)
    if entries != {name: (one.dtype, one.shape) for name, one in header.entries.items()}:
        raise SecateurError(f"'{path}' is damaged: its header lists other tensors than it holds")
    steps = read_steps(strict.read_json(meta["steps"], f"{where} steps"), f"{where} steps")
    layers = read_layers(meta.get("layers", "{}"), f"{where} layers")
    constants = {name: one for name, one in tensors.items() if name.startswith(layout.OURS)}
    own = {name: one for name, one in tensors.items() if name not in constants}
    return FileFacts(path, version, meta["secateur"], meta["torch"], meta["network"], own, constants, layers, steps,
                     settings, program, meta["data"], header)


def _version_of(metadata: dict[str, str], path: Path) -> int:
    """The format of a file.

    Raises:
        SecateurError: it is none of ours, or from the future.
    """
    says = metadata.get("format")
    if not (match := re.fullmatch(rf"{layout.FORMAT} ([1-9][0-9]{{0,5}})", says or "")):
        found = "no format" if says is None else f"format '{strict.short(says)}'"
        raise SecateurError(f"'{path}' was not written by secateur.save: it says {found}; expected '{layout.FORMAT} "
                            f"{layout.VERSION}'; secateur.models.load_weights reads plain weights")
    if (version := int(match[1])) > layout.VERSION:
        by = strict.short(metadata.get("secateur", "unknown"), 20)
        raise SecateurError(f"'{path}' has format {version}, written by secateur {by}; this is secateur {__version__}, "
                            f"which reads formats up to {layout.VERSION}: pip install --upgrade secateur")
    return version


def _check_own(header: Header, path: Path) -> None:
    """Refuse a header that does not have its own checksum, which counts as eight zeros in its sum."""
    says = header.metadata["checksum"]
    blank = header.text.replace(layout.CHECKSUM.format(says).encode(), layout.CHECKSUM.format("0" * 8).encode(), 1)
    if (found := f"{zlib.crc32(blank):08x}") != says:
        raise SecateurError(f"'{path}' is damaged: the checksum of its header is {found}, expected "
                            f"{strict.short(says)}")


def is_ours(path: Path) -> bool:
    """Whether a file says that :func:`secateur.save` wrote it."""
    try:
        with open_file(path) as file:
            return read_header(file, path).metadata.get("format", "").startswith(layout.FORMAT)
    except SecateurError:
        return False


def tensors_of(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that :func:`secateur.save` wrote, by their names in the network.

    Raises:
        SecateurError: the file is damaged or of other origin.
    """
    return read_whole(path)[1]


def read_whole(path: Path, check: Callable[[FileFacts], Any] | None = None
               ) -> tuple[FileFacts, dict[str, Tensor], bytes]:
    """The facts of a file, its tensors in the network's types, and its program.

    Args:
        path: the file.
        check: is called with the facts before any tensor is read, and may refuse them.

    Raises:
        SecateurError: the file is damaged or of other origin.
    """
    with open_file(path) as file:
        found = _read_facts(file, path)
        if check:
            check(found)
        parts = _read_parts(file, found)
    program = parts.pop(layout.PROGRAM).tobytes() if found.program else b""
    every = found.stored | found.constants
    return found, {name: _tensor(name, one, parts, path) for name, one in every.items()}, program


def _read_parts(file: BinaryIO, found: FileFacts) -> dict[str, sparse.Bytes]:
    """Every entry's bytes, checked by their checksum."""
    parts, total = _read_entries(file, found.header, found.path), 0
    for part in parts.values():
        total = zlib.crc32(part.data, total)
    got = version_1.checksum(parts) if found.format == 1 else f"{total:08x}"
    if got != found.checksum:
        raise SecateurError(f"'{found.path}' is damaged: its checksum is {got}, expected "
                            f"{strict.short(found.checksum)}")
    return parts


def _read_entries(file: BinaryIO, header: Header, path: Path) -> dict[str, sparse.Bytes]:
    """The bytes of every entry, in the order in which they lie."""
    parts: dict[str, sparse.Bytes] = {}
    for name, entry in sorted(header.entries.items(), key=lambda item: (item[1].start, item[1].end)):
        parts[name] = np.empty(entry.bytes, np.uint8)
        file.seek(entry.start)
        if file.readinto(parts[name].data) != entry.bytes:  # type: ignore[attr-defined]
            raise SecateurError(f"'{path}' was truncated while it was read")
    return parts


def read_plain(path: Path) -> dict[str, Tensor]:
    """The tensors of any safetensors file, as they stand in it.

    Raises:
        SecateurError: the file is damaged or none of safetensors.
    """
    with open_file(path) as file:
        header = read_header(file, path)
        parts = _read_entries(file, header, path)
    return {name: _tensor(name, one, parts, path) for name, one in layout.all_dense(header).items()}


def _tensor(name: str, one: layout.Stored, parts: dict[str, sparse.Bytes], path: Path) -> Tensor:
    """One tensor of the network, from its parts; these are removed from the mapping, so that memory is freed early."""
    what = f"'{path}': tensor '{strict.short(name)}'"
    own = tuple(parts.pop(part) for part in layout.parts(name, one))
    for word, part in zip((p[0] for p in layout.parts(name, one).values()), own, strict=True):
        if word == "BOOL" and part.size and part.max() > 1:
            raise SecateurError(f"{what} holds booleans that are neither 0 nor 1")
    found = layout.decode(own, one, what)
    if one.nonzeros is not None and sparse.count_stored(found) != one.nonzeros:
        raise SecateurError(f"{what} is declared with {one.nonzeros} values, but has {sparse.count_stored(found)}")
    return found if found.dtype == layout.dtype(one) else found.to(layout.dtype(one))
