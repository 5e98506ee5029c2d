"""Files written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from secateur.errors import RunError


def write(path: Path, content: str | bytes) -> Path:
    """Write a file under another name and rename it, so that no reader ever sees half of it.

    Raises:
        RunError: the folder cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True) if part.parent.is_dir() else None
        raise RunError(f"cannot write {path}: {error.strerror or error}; name another folder") from error
    return path
