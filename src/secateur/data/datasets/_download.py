"""Where data files lie, and how a missing one is fetched.

A file is looked for in ``data/<name>/`` of a checkout of this project, then in the data set's own
places (a system package), then in ``<name>/`` of the cache folder: ``$SECATEUR_DATA``, or the user's
cache. What is found nowhere is fetched into the cache from the first mirror that gives the right bytes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from secateur.core.errors import MissingExtraError, SecateurError
from secateur.core.paths import user_cache

_TIMEOUT_SECONDS = 30


def _cache_folder(name: str) -> Path:
    """The folder of the cache in which the files of a data set are kept."""
    return Path(os.environ.get("SECATEUR_DATA") or user_cache()).expanduser() / name


def checkout_folder(name: str) -> Path:
    """The folder of a checkout of this project that may hold the files."""
    return Path(__file__).parents[4] / "data" / name


def obtain(name: str, file: str, mirrors: Sequence[str], check: Callable[[Path], Any],
           places: Sequence[str] = ()) -> Path:
    """The path of a data file, fetched where it is missing.

    Args:
        name: the data set.
        file: the file's name.
        mirrors: addresses of folders that hold the file.
        check: reads the file and raises SecateurError where it is not the right one.
        places: further folders in which it may lie.

    Raises:
        SecateurError: it is not there and no mirror gives it; the message names the folder to put it in.
        MissingExtraError: it is not there, and what fetches it is not installed.
    """
    for folder in (checkout_folder(name), *map(Path, places), _cache_folder(name)):
        if (folder / file).is_file():
            return folder / file
    return fetch(name, file, mirrors, check)


def fetch(name: str, file: str, mirrors: Sequence[str], check: Callable[[Path], Any]) -> Path:
    """Fetch a file into the cache folder; what is there is always whole and checked."""
    folder = _cache_folder(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            failures = _try_mirrors(Path(scratch) / file, mirrors, check)
            if len(failures) < len(mirrors):
                return (Path(scratch) / file).replace(folder / file)
    except OSError as error:
        raise SecateurError(f"data set '{name}': cannot write to folder {folder}: {error.strerror or error}; "
                            "choose another folder with SECATEUR_DATA") from error
    raise SecateurError(f"data set '{name}': {file} is missing and could not be fetched ({'; '.join(failures)}); "
                        f"put it in folder {folder}")


def _try_mirrors(target: Path, mirrors: Sequence[str], check: Callable[[Path], Any]) -> list[str]:
    """Fetch from the first mirror that gives the right bytes; why each one before it did not."""
    try:
        import pooch
    except ImportError as error:
        raise MissingExtraError("pooch", "data", f"fetching {target.name}") from error
    failures: list[str] = []
    for mirror in mirrors:
        host = mirror.split("/")[2]
        try:
            pooch.HTTPDownloader(timeout=_TIMEOUT_SECONDS)(mirror + target.name, str(target), None)
            check(target)
            break
        except SecateurError as error:
            failures.append(f"{host}: wrong bytes, {str(error).rpartition(': ')[2]}")
        except (OSError, ValueError) as error:
            failures.append(f"{host}: {type(error).__name__}")
    return failures
