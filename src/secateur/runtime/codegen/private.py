"""Folders and files that nobody but the user can have changed: what is loaded as code is read from no others."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import stat
import tempfile
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def why_open(folder: Path) -> str | None:
    """Why others could put something into a folder, or another in its place; None where they cannot.

    The folder has to be the user's own with mode 700 and no link. Its parents have to belong to the user or to root;
    where others may write to one, it has to be sticky, so that they cannot rename what is not theirs. A system
    without users by number (Windows) says nothing about its folders.
    """
    if not hasattr(os, "geteuid"):
        return None
    found, user = folder.lstat(), os.geteuid()
    if not stat.S_ISDIR(found.st_mode):
        return "it is a link or a file, not a folder"
    if found.st_uid != user:
        return f"it belongs to user {found.st_uid}, not to user {user}"
    if stat.S_IMODE(found.st_mode) & 0o777 != 0o700:
        return f"its mode is {stat.S_IMODE(found.st_mode):o}, allowed is 700"
    return next(filter(None, (_why_loose(parent, user) for parent in folder.parents)), None)


def _why_loose(parent: Path, user: int) -> str | None:
    """Why others could rename what lies in a folder; None where they cannot."""
    found = parent.lstat()
    if found.st_uid not in (0, user):
        return f"'{parent}' above it belongs to user {found.st_uid}"
    if found.st_mode & _OTHERS_WRITE and not found.st_mode & stat.S_ISVTX:
        return f"others may write to '{parent}' above it"
    return None


def make_private(folder: Path) -> Path:
    """The folder without links above it; it and those above it that are missing are made for the user alone.

    Raises:
        OSError: it cannot be made, or it is open to others; the message says why.
    """
    place = Path(os.path.realpath(folder.parent), folder.name)
    if not os.path.lexists(place):
        for part in (*reversed(place.parents), place):
            if not os.path.lexists(part):
                part.mkdir(0o700, exist_ok=True)
    if reason := why_open(place):
        raise OSError(reason)
    return place


@functools.cache
def temporary() -> Path:
    """A folder for this process and those that it forks; it goes when the process ends."""
    made = Path(tempfile.mkdtemp(prefix="secateur-"))
    atexit.register(_remove, made, os.getpid())
    return made


def _remove(folder: Path, owner: int) -> None:
    """Remove the folder, unless a forked process ends before the one that made it."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def read_own(path: Path, most: int) -> bytes | None:
    """A regular file that only the user may write, of at most ``most`` bytes; None for any other, and for a link."""
    # Opened without waiting: a pipe in its place would hold the process until someone writes to it.
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(path, "rb", opener=lambda name, mode: os.open(name, mode | flags)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > most:
            return None
        if hasattr(os, "geteuid") and (found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE):
            return None
        content = file.read(most + 1)
    return content if len(content) <= most else None
