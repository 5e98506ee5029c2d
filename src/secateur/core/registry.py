"""A folder is its own registry: one file for each item, found by a scan of the folder and imported when it is needed.

The file ``pruning/criteria/l2.py`` is the criterion ``l2``; ``data/datasets/fashion_mnist.py`` is the data set
``fashion-mnist`` (granularities keep the underscore: ``n_m``). Each file defines one public class that fulfils the
contract of the folder's ``base.py``, the class that ``base.CONTRACT`` names. No item is listed anywhere else.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from secateur.core.errors import SecateurError, readable, unknown

_FOLDERS = {
    "criteria": ("criterion", "pruning/criteria"),
    "granularity": ("granularity", "pruning/granularity"),
    "scopes": ("scope", "pruning/scopes"),
    "schedules": ("schedule", "training/schedules"),
    "regrowth": ("regrowth", "training/regrowth"),
    "recovery": ("recovery", "recovery/methods"),
    "data": ("data set", "data/datasets"),
    "models": ("model", "models/builtin"),
    "loaders": ("kind of network", "models/loaders"),
    "engines": ("engine of secateur bench", "engines"),
    "exporters": ("exporter", "files/exporters", "report/exporters"),
}
"""Of each registry what an item is called, and where the items lie; their contract lies in the first folder."""

ROOMS = {room: word for room, (word, *_) in _FOLDERS.items()}
"""What the items of each registry are called."""

WRITTEN = {"block": "4x1", "n_m": "2:4"}
"""What a user writes for items whose sizes are part of their name."""

ROOT = Path(__file__).parent.parent
_searched_last: list[str] = []


def files(room: str) -> dict[str, Path]:
    """Every item of a room: its name and the file that defines it."""
    folders = tuple(ROOT / folder for folder in _FOLDERS[room][1:])
    return dict(_scan(room, folders, tuple(folder.stat().st_mtime_ns for folder in folders)))


@lru_cache(maxsize=64)
def _scan(room: str, folders: tuple[Path, ...], _: tuple[int, ...]) -> dict[str, Path]:
    """The items in some folders, looked for again when a folder has changed: a study asks hundreds of times."""
    found = {m.name: folder / f"{m.name}.py" for folder in folders for m in pkgutil.iter_modules([str(folder)])}
    joint = "_" if room == "granularity" else "-"
    return {name.rstrip("_").replace("_", joint): path for name, path in sorted(found.items())
            if name != "base" and not name.startswith("_")}


def allowed(room: str) -> list[str]:
    """The names of a room's items as a user writes them, for messages."""
    return [WRITTEN.get(name, name) for name in files(room)]


def description(path: Path) -> str:
    """The first line of an item's file, without the item's name in front: read, because an import takes seconds.

    >>> description(files("criteria")["apoz"]), description(files("engines")["torch"])[:11]
    ('scores a neuron by how often its activation is not zero', 'torch as it')
    """
    line = path.read_text(encoding="utf-8").partition('"""')[2].partition("\n")[0]
    text = line.removesuffix('"""').removesuffix(".").replace("``", "")
    name, colon, rest = text.partition(": ")
    return rest if colon and _letters(name) == _letters(path.stem) else text


def constant(path: Path, name: str) -> str:
    """A text that the class in an item's file declares: read, because an import takes seconds.

    >>> constant(files("loaders")["pt2"], "form")
    'FILE.pt2'
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    values = (node.value for node in ast.walk(tree) if isinstance(node, ast.Assign) and name in map(
        ast.unparse, node.targets))
    return str(ast.literal_eval(next(values)))


def _letters(name: str) -> str:
    """The letters and digits of a name.

    >>> _letters("BN scale"), _letters("bn_scale")
    ('bnscale', 'bnscale')
    """
    return "".join(filter(str.isalnum, name)).lower()


def check_name(room: str, name: str) -> None:
    """Refuse what names no item, without importing one; what an import path names is left for :func:`get`.

    Raises:
        SecateurError: an unknown name, with the nearest known one.
    """
    if not isinstance(name, str):
        raise unknown(ROOMS[room], repr(name), allowed(room))
    if ":" not in name and name not in files(room):
        raise unknown(ROOMS[room], name, allowed(room), files(room))


def get(room: str, name: str) -> Any:
    """The class behind a name, or behind ``pkg.module:attribute`` for a user's own item."""
    check_name(room, name)
    if ":" in name:
        return import_path(name, ROOMS[room])
    module = _module(files(room)[name])
    return next(c for _, c in inspect.getmembers(module, inspect.isclass)
                if c.__module__ == module.__name__ and issubclass(c, _contract(room)))


def item(room: str, choice: Any) -> Any:
    """The item behind a name, ``pkg.module:attribute``, or a class whose settings all have defaults; an item itself
    stays as it is.

    Raises:
        SecateurError: an unknown name, a class that needs settings, or something that is no item of the room.
    """
    found = get(room, choice) if isinstance(choice, str) else choice
    found = found() if isinstance(found, type) and issubclass(found, _contract(room)) else found
    if not isinstance(found, _contract(room)):
        raise unknown(ROOMS[room], choice if isinstance(choice, str) else repr(choice), allowed(room))
    return found


def _contract(room: str) -> Any:
    """The class that every item of a room is one of."""
    return _module(ROOT / _FOLDERS[room][1] / "base.py").CONTRACT


def name_of(room: str, kind: type) -> str:
    """The name under which a class is found; ``pkg.module:Class`` for a user's own."""
    found = (name for name, path in files(room).items() if _dotted(path) == kind.__module__)
    return next(found, f"{kind.__module__}:{kind.__qualname__}")


def _module(path: Path) -> Any:
    return importlib.import_module(_dotted(path))


def _dotted(path: Path) -> str:
    """The name of the module that a file of the package is."""
    return ".".join(("secateur", *path.relative_to(ROOT).with_suffix("").parts))


def search_last(folder: str) -> None:
    """Also look in a folder (empty: the current one), behind all others, for what ``pkg.module:attribute`` names.

    The command line does so for the current one. It is looked in once such a name is given, so that no file that lies
    there takes the place of a package.
    """
    _searched_last[:] = [folder]


def import_path(path: str, kind: str) -> Any:
    """The object behind ``pkg.module:attribute``; the error says which half is wrong."""
    module_name, _, attribute = path.partition(":")
    sys.path += [folder for folder in _searched_last if folder not in sys.path]
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise SecateurError(f"{kind} '{path}': cannot import module '{module_name}' ({readable(error)})") from error
    if not hasattr(module, attribute):
        raise unknown(f"attribute of {module_name} for {kind} '{path}'", attribute,
                      [n for n in vars(module) if not n.startswith("_")])
    return getattr(module, attribute)
