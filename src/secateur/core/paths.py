"""Files that appear whole or not at all, and where the package keeps what it can make again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs

from secateur.core.errors import RunError, SecateurError, first_line


def user_cache() -> Path:
    """The package's folder in the user's cache; it may not be there yet."""
    return platformdirs.user_cache_path("secateur", appauthor=False, opinion=False)


@contextmanager
def write_whole(path: Path, several: bool = False, in_run: bool = False) -> Iterator[Path]:
    """Gives a scratch path to write to; what is there when the block is done becomes the file at ``path``.

    The scratch path has the name of the file, in a new folder beside it, so that one step of the file system moves it.
    All of it is on the disk before it moves: a crash leaves the old content or the new one. Where the block fails or is
    interrupted, nothing is left and what stood at ``path`` stays.

    Args:
        path: the file, or a new folder. A link is followed: what it points to is replaced.
        several: further files may be written beside the scratch path; they move too. A link is then replaced itself,
            because the further files are named like it.
        in_run: the file belongs to a run or a report: its folder is made where it is missing. A link is replaced
            itself: a run that came from others could point anywhere.

    Raises:
        SecateurError: there is no such folder, the path is a folder, or the disk is full or read-only; for a file of a
            run it is a :class:`RunError`.
    """
    kind, hint = (RunError, "; name another folder") if in_run else (SecateurError, "")
    goal = path if several or in_run else Path(os.path.realpath(path))
    try:
        if in_run:
            goal.parent.mkdir(parents=True, exist_ok=True)
        check_place(path, kind=kind)
        with tempfile.TemporaryDirectory(prefix=f".{goal.name}.", suffix=".partial", dir=goal.parent,
                                         ignore_cleanup_errors=True) as folder:
            scratch = Path(folder) / goal.name
            with _errors_about(path, scratch):
                yield scratch
            # The named file moves last: where it is, everything that belongs to it is there.
            for file in sorted(scratch.parent.iterdir(), key=lambda f: f.name == goal.name):
                for part in (*file.rglob("*"), file):
                    sync(part)
                file.replace(goal.with_name(file.name))
            sync(goal.parent)
    except OSError as error:
        raise kind(f"cannot write '{path}': {error.strerror or first_line(error)}{hint}") from error


@contextmanager
def _errors_about(path: Path, scratch: Path) -> Iterator[None]:
    """Errors that name the scratch path, which the caller does not know, name the path that was asked for."""
    try:
        yield
    except SecateurError as error:
        if str(scratch) not in str(error):
            raise
        raise type(error)(str(error).replace(str(scratch), str(path))) from error


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; systems that cannot open folders do not need it."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, content: str | bytes) -> Path:
    """Write a file of a run or a report.

    Raises:
        RunError: the folder cannot be written.
    """
    with write_whole(path, in_run=True) as scratch:
        scratch.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def check_place(path: Path, what: str = "cannot write", kind: type[SecateurError] = SecateurError) -> None:
    """Refuse a path at which no file can be.

    Raises:
        SecateurError: it is a folder, or there is no folder for it.
    """
    if path.is_dir() or not path.parent.is_dir():
        why = "it is a folder" if path.is_dir() else f"there is no folder '{path.parent}'"
        raise kind(f"{what} '{path}': {why}; allowed is a file in an existing folder")


def check_out(path: Path, force: bool) -> None:
    """Refuse a file that could not be written in the end, before any work is done."""
    check_place(path, "out")
    if path.exists() and not force:
        raise SecateurError(f"out '{path}' exists already: name another file, or replace it with --force")
    if not os.access(path.parent, os.W_OK):
        raise SecateurError(f"out '{path}': folder '{path.parent}' is not writable")


def path_of(call: str, path: Any) -> Path:
    """The path that a caller gave, with the home folder in place of ``~``.

    Raises:
        SecateurError: it is no path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise SecateurError(f"{call}: got a {type(path).__name__} as path; allowed is a string or a Path")
    return Path(path).expanduser()
