"""Rows in one SQLite file, each keyed by the hash of all its settings; what is there is not computed again."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from secateur.core.errors import RunError, first_line

FORMAT = 1
FILE = "rows.sqlite"
LOCK = "study.lock"
FIGURES, NETWORKS, RECOVERED = "figures", "networks", "recovered"
"""The folders within a run's: what the report draws, what was trained, and what was recovered after a cut."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, kind TEXT NOT NULL, settings TEXT NOT NULL,
                                 figures TEXT NOT NULL, machine TEXT NOT NULL);
"""
_TABLES = {" ".join(part.split()).replace("IF NOT EXISTS ", "") for part in _SCHEMA.split(";") if part.strip()}
_NAMES_ANOTHER = bytes.fromhex("d9d505f920a163d7")
"""How a journal ends that names a file which is to be deleted with it (SQLite's file format, section 3)."""
_AGAIN = "run secateur study again into another folder (--out), or delete this one"


def key_of(settings: Mapping[str, Any]) -> str:
    """The name of a row: the first 32 hex digits of the SHA-256 of all its settings, keys sorted.

    >>> key_of({"a": 1, "b": [0.5]}) == key_of({"b": [0.5], "a": 1})
    True
    """
    return hashlib.sha256(_dump(settings).encode()).hexdigest()[:32]


def check_there(folder: Path) -> None:
    """Refuse a folder that holds no run.

    Raises:
        RunError: there is no file of rows in it.
    """
    if not os.path.lexists(folder / FILE):
        raise RunError(f"'{folder}' holds no run: there is no {FILE} in it")


class Store:
    """The rows of one run folder.

    Every row is written in a transaction of its own, so that a process killed at any moment
    leaves the rows before it whole.

    Args:
        folder: the run's folder; made where absent if ``create``.

    Raises:
        RunError: the folder cannot be read or written, holds no run, or one of another version.
    """

    def __init__(self, folder: Path, create: bool = False):
        self.folder = folder
        path = folder / FILE
        if not create:
            check_there(folder)
        try:
            _check_own(path)
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._db.execute("PRAGMA trusted_schema=OFF")
            self._check_tables()
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.executescript(_SCHEMA)
            self._check_format()
        except (OSError, sqlite3.Error) as error:
            raise RunError(f"cannot open the run folder '{folder}': {first_line(error)}") from error

    def _check_tables(self) -> None:
        """Refuse views, triggers and tables that this package does not make: they run when rows are read."""
        found = [" ".join(sql.split()) for (sql,) in self._db.execute("SELECT sql FROM sqlite_master") if sql]
        if strange := [sql for sql in found if sql not in _TABLES]:
            raise RunError(f"'{self.folder / FILE}' holds '{strange[0][:60]}', which does not belong to a run; "
                           f"{_AGAIN}")

    def _check_format(self) -> None:
        self._db.execute("INSERT OR IGNORE INTO meta VALUES ('format', ?)", (str(FORMAT),))
        if (version := self.meta("format")) != FORMAT:
            raise RunError(f"run folder '{self.folder}' has format {version}, this version reads {FORMAT}: "
                           "choose another folder with --out, or delete it")

    def meta(self, name: str) -> Any:
        """A value kept beside the rows; ``None`` where there is none."""
        found = self._select("SELECT value FROM meta WHERE name = ?", (name,))
        return self._parsed(found[0][0], f"its '{name}'") if found else None

    def set_meta(self, name: str, value: Any) -> None:
        """Keep a JSON value beside the rows, unless it is there already."""
        if self.meta(name) != json.loads(_dump(value)):
            self._write("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, _dump(value)))

    def keys(self, kind: str) -> set[str]:
        """The keys of all rows of one kind."""
        return {k for (k,) in self._select("SELECT key FROM rows WHERE kind = ?", (kind,))}

    def has(self, key: str) -> bool:
        """Whether there is a row of a key."""
        return bool(self._select("SELECT 1 FROM rows WHERE key = ?", (key,)))

    def get(self, row: str | Mapping[str, Any]) -> dict[str, Any] | None:
        """The figures of a row, by its key or by all its settings; ``None`` where there is no such row."""
        key = row if isinstance(row, str) else key_of(row)
        found = self._select("SELECT figures FROM rows WHERE key = ?", (key,))
        return self._record(found[0][0], f"row {key}") if found else None

    def settings(self, key: str) -> dict[str, Any]:
        """The settings of a row that is there."""
        found = self._record(self._select("SELECT settings FROM rows WHERE key = ?", (key,))[0][0], f"row {key}")
        if key_of(found) != key:
            raise RunError(f"'{self.folder / FILE}' is damaged: row {key} has other settings than its key; {_AGAIN}")
        return found

    def machine(self, keys: Iterable[str]) -> dict[str, Any]:
        """The machine of the first of these rows that is there."""
        for key in keys:
            if found := self._select("SELECT machine FROM rows WHERE key = ?", (key,)):
                return self._record(found[0][0], f"the machine of row {key}")
        return {}

    def _select(self, statement: str, values: tuple[str, ...]) -> Sequence[tuple[Any, ...]]:
        """The rows that a statement finds.

        Raises:
            RunError: the file is damaged.
        """
        try:
            return self._db.execute(statement, values).fetchall()
        except (sqlite3.Error, ValueError, OverflowError) as error:
            raise RunError(f"'{self.folder / FILE}' is damaged: {first_line(error)}; {_AGAIN}") from error

    def _parsed(self, text: Any, what: str) -> Any:
        """The value of stored JSON.

        Raises:
            RunError: it is none.
        """
        try:
            return _load(text)
        except (ValueError, TypeError, RecursionError) as error:
            raise RunError(f"'{self.folder / FILE}' is damaged: {what} is not valid JSON ({first_line(error)}); "
                           f"{_AGAIN}"
                           ) from error

    def _record(self, text: Any, what: str) -> dict[str, Any]:
        """The same, of an object."""
        found = self._parsed(text, what)
        if not isinstance(found, dict):
            raise RunError(f"'{self.folder / FILE}' is damaged: {what} is not a record; {_AGAIN}")
        return found

    def put(self, kind: str, settings: Mapping[str, Any], figures: Mapping[str, Any],
            machine: Mapping[str, Any]) -> None:
        """Write one row, whole or not at all.

        Raises:
            RunError: the folder is full or read-only; rows written before stay.
        """
        self._write("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?)",
                    (key_of(settings), kind, _dump(settings), _dump(figures), _dump(machine)))

    def _write(self, statement: str, values: tuple[str, ...]) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise RunError(f"cannot write to the run folder '{self.folder}': {error}") from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other studies out of the folder during the block; a process that dies lets them in.

        SQLite locks a file of its own for that: it does so on every system, and frees it with the process.

        Raises:
            RunError: another study is at work in the folder.
        """
        _check_own(self.folder / LOCK)
        with closing(sqlite3.connect(self.folder / LOCK, timeout=0, isolation_level=None)) as lock:
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise RunError(f"cannot write to the run folder '{self.folder}': {error}") from error
                raise RunError(f"another study is at work in '{self.folder}': wait until it is done, or name another "
                               "folder with --out") from error
            yield

    def close(self) -> None:
        """Fold the log into the file and close it."""
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_own(path: Path) -> None:
    """Refuse a run in which what is read or written would be other files of the user.

    SQLite follows links; and it deletes the file that the end of a journal names, which is one that journals of
    several databases would have in common: no run's has one.

    Raises:
        RunError: a file of the database is a link, a pipe or a device, or such a journal; or a folder is a link.
    """
    for file in (path, *(path.with_name(path.name + end) for end in ("-journal", "-wal", "-shm"))):
        if os.path.lexists(file) and not stat.S_ISREG(file.lstat().st_mode):
            raise RunError(f"'{file}' is a link, a folder or a device, not a file of a run; {_AGAIN}")
    for folder in (path.parent / name for name in (FIGURES, NETWORKS, RECOVERED)):
        if folder.is_symlink():
            raise RunError(f"'{folder}' is a link, not the folder of a run; {_AGAIN}")
    journal = path.with_name(f"{path.name}-journal")
    if journal.exists() and journal.read_bytes()[-len(_NAMES_ANOTHER):] == _NAMES_ANOTHER:
        raise RunError(f"'{journal}' names a file that SQLite would delete, so it was not written by a run; {_AGAIN}")


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_encode)


def _encode(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"cannot keep a {type(value).__name__} in a row")


def _load(text: str) -> Any:
    return json.loads(text, object_hook=lambda d: base64.b64decode(d["base64"]) if d.keys() == {"base64"} else d)
