"""What files that somebody made to take over a process are made of."""

import io
import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

EVIL = "\x1b]0;owned\x07\u202egpj"
TAGS = "<img src=x onerror=alert(1)>|`a`[b](javascript:c)$\\frac$"
STORED = Path(__file__).parent / "fixtures" / "stored" / "run"


class Bomb:
    """A pickle that makes a file where it is read."""

    def __reduce__(self):
        return (open, ("hit", "w"))


def packed(held, kind=zipfile.ZIP_STORED):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", kind) as archive:
        for name, data in held.items():
            archive.writestr(name, data)
    return made.getvalue()


def member(held, end):
    return next(name for name in held if name.endswith(end))


def with_graph(held, change):
    """The members with another graph."""
    name = member(held, "models/model.json")
    graph = json.loads(held[name])
    change(graph)
    return held | {name: json.dumps(graph)}


def changed(folder, table, change, where):
    """The texts of a table of a run changed."""
    column = "value" if table == "meta" else "figures"
    with closing(sqlite3.connect(folder / "rows.sqlite")) as base, base:
        for name, text in base.execute(f"SELECT rowid, {column} FROM {table} WHERE {where}").fetchall():
            base.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (change(text), name))


def named(folder, **names):
    """A run that names other things."""
    def change(text):
        told = json.loads(text)
        told["config"] |= names
        return json.dumps(told)

    changed(folder, "meta", change, "name = 'run'")
