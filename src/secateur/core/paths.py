"""Folders of the user's that the package may write to."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from secateur.core.errors import RunError, SecateurError, first_line


def user_cache() -> Path:
    """The package's folder in the user's cache, as the system has it; it may not be there yet."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "secateur"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "secateur"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "secateur"


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


def check_out(path: Path, force: bool) -> None:
    """Refuse a file that could not be written in the end, before any work is done."""
    if path.is_dir() or not path.parent.is_dir():
        why = "it is a folder" if path.is_dir() else f"there is no folder '{path.parent}'"
        raise SecateurError(f"out '{path}': {why}; allowed is a new file in a folder that is there")
    if path.exists() and not force:
        raise SecateurError(f"out '{path}' is there already: name another file, or --force to replace it")
    if not os.access(path.parent, os.W_OK):
        raise SecateurError(f"out '{path}': nothing can be written to folder '{path.parent}'")


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
