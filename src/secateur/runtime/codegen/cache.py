"""Object code and choices kept on disk under keys of everything that they depend on."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from secateur.core.paths import user_cache

VARIABLE = "SECATEUR_CACHE"


def folder() -> Path:
    """Where the cache lives: ``SECATEUR_CACHE``, or the user's cache folder."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    return user_cache() / "kernels"


def key(*parts: str) -> str:
    """A file name from everything that the content depends on."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


@functools.cache
def generator() -> str:
    """The digest of the source that generates the code: a changed generator finds nothing in the cache."""
    here = Path(__file__).parent
    sources = sorted([here / "ir.py", here / "jit.py", here / "isa.py", *(here / "kernels").glob("*.py")])
    return hashlib.sha256(b"\0".join(s.read_bytes() for s in sources)).hexdigest()


def read(name: str) -> bytes | None:
    """A kept file, or None; a file that is cut short or altered counts as absent."""
    try:
        data = (folder() / name).read_bytes()
    except OSError:
        return None
    digest, body = data[:32], data[32:]
    return body if hashlib.sha256(body).digest() == digest else None


def write(name: str, body: bytes) -> None:
    """Keep a file, whole or not at all; a folder that cannot be written is no error.

    It is not flushed to the disk as a user's file is: a file that a crash cut short fails its digest and counts as
    absent.
    """
    with contextlib.suppress(OSError):
        folder().mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder())
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(body).digest() + body)
            os.replace(temporary, folder() / name)
        except OSError:
            os.unlink(temporary)


def read_json(name: str) -> Any:
    """A kept value, or None."""
    body = read(name)
    return None if body is None else json.loads(body)


def write_json(name: str, value: Any) -> None:
    """Keep a value."""
    write(name, json.dumps(value).encode())
