"""Files that appear whole and checked, or not at all: what stood in their place stays until then."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from secateur.errors import SecateurError, first_line


def path_of(path: Any, suffix: str, name: str) -> Path:
    """A path with the home folder in place of ``~``.

    Raises:
        SecateurError: it is no path, is a folder, lies in no folder, or has another suffix than the format's files.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise SecateurError(f"export: got a {type(path).__name__} as path; allowed is a string or a Path")
    path = Path(path).expanduser()
    if path.suffix != suffix:
        raise SecateurError(f"export: '{path}' for {name}: its name has to end in {suffix}")
    if path.is_dir():
        raise SecateurError(f"export: '{path}' is a folder; allowed is a file")
    if not path.parent.is_dir():
        raise SecateurError(f"cannot write '{path}': there is no folder '{path.parent}'")
    return path


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A place of the same name in a folder beside a file's; what the block leaves there moves to the file's folder.

    Nothing is moved, and nothing left, where the block fails or is interrupted.

    Raises:
        SecateurError: the folder is full or read-only.
    """
    folder = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        folder.mkdir()
        yield folder / path.name
        for file in sorted(folder.iterdir(), key=lambda f: f.name == path.name):
            synced(file)
            file.replace(path.with_name(file.name))
    except OSError as error:
        raise SecateurError(f"cannot write '{path}': {error.strerror or first_line(error)}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def synced(file: Path) -> None:
    """Have the system put a file on the disk."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())
