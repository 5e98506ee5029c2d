"""Reads an object file far enough to know, before it is loaded, that it is whole and links to nothing unexpected."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

_LINKED = {"memset", "memcpy", "memmove", "bzero", "__bzero", "_fltused", "__chkstk", "_GLOBAL_OFFSET_TABLE_"}
"""All that a kernel may take from outside: LLVM itself calls these to fill memory and to grow the stack."""
_MACHINES = {("ELF", "x86_64"): 62, ("ELF", "aarch64"): 183, ("COFF", "x86_64"): 0x8664, ("COFF", "aarch64"): 0xAA64,
             ("MachO", "x86_64"): 0x01000007, ("MachO", "aarch64"): 0x0100000C}
_CONSTANTS = ("__real@", "__xmm@", "__ymm@", "__zmm@")
"""How the constants of COFF files begin, which are symbols that others see."""


class ObjectError(ValueError):
    """Bytes that are no object file of a kernel; the message says why."""


@dataclass(frozen=True)
class _Object:
    """The machine of an object file, and the symbols that other files see, with whether they are defined in it."""

    machine: int
    symbols: dict[str, bool]


def check_object(code: bytes, name: str, form: str, arch: str) -> None:
    """Refuse what is not the object file of one kernel.

    Args:
        code: the file's bytes.
        name: the function that it has to define.
        form: the format, as LLVM names it: ``ELF``, ``COFF`` or ``MachO``.
        arch: the architecture, as LLVM names it.

    Raises:
        ObjectError: another format or machine, a part that lies outside of the file, a function that is missing,
            further functions, or a symbol from outside that no kernel needs.
    """
    try:
        found = _READERS[form](code)
    except (struct.error, OverflowError, IndexError) as error:
        raise ObjectError(f"the {form} file is cut short or damaged: {error}") from error
    if found.machine != _MACHINES.get((form, arch)):
        raise ObjectError(f"it is for machine {found.machine:#x}, not for {arch}")
    if not found.symbols.get(name):
        raise ObjectError(f"it does not define '{name}'")
    for symbol, defined in found.symbols.items():
        if symbol != name and not (symbol.startswith(_CONSTANTS) if defined else symbol in _LINKED):
            raise ObjectError(f"it {'defines' if defined else 'needs'} '{symbol}'")


def _part(code: bytes, start: int, size: int) -> bytes:
    if start + size > len(code):
        raise ObjectError(f"bytes {start} to {start + size} of {len(code)} are missing")
    return code[start:start + size]


def _records(layout: str, code: bytes, start: int, count: int) -> Iterator[tuple[Any, ...]]:
    """Records that follow each other."""
    return struct.iter_unpack(layout, _part(code, start, count * struct.calcsize(layout)))


def _text(strings: bytes, start: int) -> str:
    """The text that ends with a zero, in a table of strings."""
    return strings[start:].partition(b"\0")[0].decode("latin-1")


def _elf(code: bytes) -> _Object:
    if code[:6] != b"\x7fELF\x02\x01":
        raise ObjectError("it is not a 64-bit little-endian ELF file")
    kind, machine = struct.unpack_from("<HH", code, 16)
    place, = struct.unpack_from("<Q", code, 40)
    size, count = struct.unpack_from("<HH", code, 58)
    if (kind, size) != (1, 64):
        raise ObjectError("it is not an ELF object file")
    # A section: name, type (8: zeros, not in the file), flags, address, place, size, table of its names, and others.
    sections = list(_records("<IIQQQQIIQQ", code, place, count))
    whole = [b"" if section[1] == 8 else _part(code, section[4], section[5]) for section in sections]
    symbols: dict[str, bool] = {}
    for section, table in zip(sections, whole, strict=True):
        if section[1] == 2:
            symbols |= _elf_symbols(table, whole[section[6]], [section[5] for section in sections])
    return _Object(machine, symbols)


def _elf_symbols(table: bytes, strings: bytes, sizes: list[int]) -> dict[str, bool]:
    """The symbols of a table that are global, or not in any of the sections, which have these sizes."""
    symbols: dict[str, bool] = {}
    for place, info, _, home, value, extent in _records("<IBBHQQ", table, 0, len(table) // 24):
        name, known = _text(strings, place), 0 < home < len(sizes)
        if home not in (0, 0xFFF1) and not (known and value + extent <= sizes[home]):
            raise ObjectError(f"symbol '{name}' lies outside of its section")
        if name and (info >> 4 or not home):
            symbols[name] = known
    return symbols


def _coff(code: bytes) -> _Object:
    machine, count, _, place, total, optional, _ = struct.unpack_from("<HHIIIHH", code)
    if optional:
        raise ObjectError("it is not a COFF object file")
    # A section: name, size and address in memory, size, place, relocations, lines, how many of both, flags.
    for _, _, _, size, start, links, _, many, _, _ in _records("<8sIIIIIIHHI", code, 20, count):
        _part(code, start, size if start else 0)
        _part(code, links, many * 10)
    end = place + total * 18
    strings = _part(code, end, *struct.unpack_from("<I", code, end))
    symbols: dict[str, bool] = {}
    records = _records("<8sIhHBB", code, place, total)
    for name, _, home, _, kind, more in records:
        if home > count:
            raise ObjectError("a symbol lies outside of the sections")
        if kind in (2, 105):
            long = name[:4] == b"\0\0\0\0"
            symbols[_text(strings, int.from_bytes(name[4:], "little")) if long else _text(name + b"\0", 0)] = home > 0
        # More about a symbol follows it in records of the same size.
        next(itertools.islice(records, more, more), None)
    return _Object(machine, symbols)


def _mach(code: bytes) -> _Object:
    magic, machine, _, kind, count, size, _, _ = struct.unpack_from("<IIIIIIII", code)
    if (magic, kind) != (0xFEEDFACF, 1):
        raise ObjectError("it is not a 64-bit Mach-O object file")
    commands, place, sections = _part(code, 32, size), 0, 0
    symbols: dict[str, bool] = {}
    for _ in range(count):
        command, step = struct.unpack_from("<II", commands, place)
        if command == 0x19:
            sections += _mach_sections(code, commands, place)
        if command == 2:
            symbols |= _mach_symbols(code, *struct.unpack_from("<IIII", commands, place + 8))
        place += max(step, 8)
    return _Object(machine, symbols)


def _mach_sections(code: bytes, commands: bytes, place: int) -> int:
    """How many sections a command lists, all of them within the file."""
    count, = struct.unpack_from("<I", commands, place + 64)
    # A section: two names, address, size, place, alignment, relocations, how many, flags (1: zeros), three reserved.
    for _, _, _, size, start, _, links, many, flags, *_ in _records("<16s16sQQIIIIIIII", commands, place + 72, count):
        _part(code, start, 0 if flags & 0xFF == 1 else size)
        _part(code, links, many * 8)
    return count


def _mach_symbols(code: bytes, place: int, count: int, start: int, size: int) -> dict[str, bool]:
    """The symbols that are global, or not in any section, without the underscore that names of C begin with."""
    strings, symbols = _part(code, start, size), dict[str, bool]()
    for name, flags, _, _, _ in _records("<IBBHQ", code, place, count):
        if not flags & 0xE0 and (flags & 1 or not flags & 0x0E):
            symbols[_text(strings, name).removeprefix("_")] = flags & 0x0E == 0x0E
    return symbols


_READERS: dict[str, Callable[[bytes], _Object]] = {"ELF": _elf, "COFF": _coff, "MachO": _mach}
