"""Object code and choices kept on disk under keys of everything that they depend on, in a folder of the user's own."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

from secateur.core.errors import first_line
from secateur.core.paths import user_cache
from secateur.runtime.codegen.private import make_private, read_own, temporary

VARIABLE = "SECATEUR_CACHE"
_MOST_BYTES = 1 << 20
"""The longest file that is read; a kernel's object code has about 12 KiB at most."""


def folder() -> Path:
    """Where the cache lives: ``SECATEUR_CACHE``, or the user's cache folder, where nobody else can write to it.

    Otherwise a temporary folder of this process, and one warning that says why.

    Raises:
        OSError: there is no private folder at all.
    """
    wanted = Path(os.path.abspath(os.environ.get(VARIABLE) or user_cache() / "native"))
    try:
        return make_private(wanted)
    except OSError as error:
        _warn_once(str(wanted), error.strerror or first_line(error))
        return make_private(temporary())


@functools.cache
def _warn_once(wanted: str, reason: str) -> None:
    warnings.warn(f"kernels cannot be cached in '{wanted}': {reason}; each process compiles them again. Set "
                  f"{VARIABLE} to another folder", RuntimeWarning, stacklevel=2)


def key(*parts: str) -> str:
    """A file name from everything that the content depends on."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


@functools.cache
def generator() -> str:
    """The digest of the source that generates the code: a changed generator finds nothing in the cache."""
    here = Path(__file__).parent
    sources = sorted([here / "ir.py", here / "jit.py", here / "isa.py", *(here / "kernels").glob("*.py")])
    return hashlib.sha256(b"\0".join(s.read_bytes() for s in sources)).hexdigest()


def _digest(name: str, body: bytes) -> bytes:
    """The name is a part of it, so that a file under another's name counts as absent."""
    return hashlib.sha256(name.encode() + b"\0" + body).digest()


def read(name: str) -> bytes | None:
    """A kept file, or None; one that is cut short, altered, no regular file or open to others counts as absent."""
    try:
        data = read_own(folder() / name, _MOST_BYTES)
    except OSError:
        return None
    return data[32:] if data is not None and _digest(name, data[32:]) == data[:32] else None


def write(name: str, body: bytes) -> None:
    """Keep a file, whole or not at all; a folder that cannot be written is no error.

    It is not flushed to the disk as a user's file is: a file that a crash cut short fails its digest and counts as
    absent.
    """
    with contextlib.suppress(OSError):
        place = folder()
        handle, temporary_name = tempfile.mkstemp(dir=place)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_digest(name, body) + body)
            os.replace(temporary_name, place / name)
        except BaseException:
            os.unlink(temporary_name)
            raise


def read_json(name: str) -> Any:
    """A kept value, or None; its form is the caller's to check."""
    body = read(name)
    if body is None:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def write_json(name: str, value: Any) -> None:
    """Keep a value."""
    write(name, json.dumps(value).encode())
