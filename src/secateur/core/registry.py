"""A folder is its own registry: one file per item, found by scanning, imported when asked for.

The file ``pruning/criteria/l2.py`` is the criterion ``l2``; ``data/datasets/fashion_mnist.py`` is the data set
``fashion-mnist`` (granularities keep the underscore: ``n_m``). Each file defines one public class
that fulfils the contract of the folder's ``base.py`` (the class that ``base.CONTRACT`` names).
Nothing is listed anywhere else.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Any

from secateur.core.errors import SecateurError, first_line, unknown

ROOMS = {
    "criteria": "criterion",
    "granularity": "granularity",
    "scopes": "scope",
    "schedules": "schedule",
    "regrowth": "regrowth",
    "recovery": "recovery",
    "data": "data set",
    "models": "model",
    "loaders": "kind of network",
    "engines": "engine of secateur bench",
    "exporters": "exporter",
}
"""What the items of each registry are called."""

FOLDERS = {
    "criteria": "pruning/criteria",
    "granularity": "pruning/granularity",
    "scopes": "pruning/scopes",
    "schedules": "training/schedules",
    "regrowth": "training/regrowth",
    "recovery": "recovery/methods",
    "data": "data/datasets",
    "models": "models/builtin",
    "loaders": "models/loaders",
    "engines": "engines",
    "exporters": "files/exporters",
}
"""Where each registry lies below the package."""


def files(room: str) -> dict[str, Path]:
    """Every item of a room: its name and the file that defines it."""
    folder = Path(__file__).parent.parent / FOLDERS[room]
    modules = (m.name for m in pkgutil.iter_modules([str(folder)]))
    items = (m for m in sorted(modules) if m != "base" and not m.startswith("_"))
    joint = "_" if room == "granularity" else "-"
    return {m.rstrip("_").replace("_", joint): folder / f"{m}.py" for m in items}


def get(room: str, name: str) -> Any:
    """The class behind a name, or behind ``pkg.module:attribute`` for a user's own item."""
    if not isinstance(name, str):
        raise unknown(ROOMS[room], repr(name), files(room))
    if ":" in name:
        return import_path(name, ROOMS[room])
    if name not in files(room):
        raise unknown(ROOMS[room], name, files(room))
    package = f"secateur.{FOLDERS[room].replace('/', '.')}"
    contract = importlib.import_module(f"{package}.base").CONTRACT
    module = importlib.import_module(f"{package}.{files(room)[name].stem}")
    return next(c for _, c in inspect.getmembers(module, inspect.isclass)
                if c.__module__ == module.__name__ and issubclass(c, contract))


def name_of(room: str, kind: type) -> str:
    """The name under which a class is found; ``pkg.module:Class`` for a user's own."""
    package, _, module = kind.__module__.rpartition(".")
    if package == f"secateur.{FOLDERS[room].replace('/', '.')}":
        return next(name for name, path in files(room).items() if path.stem == module)
    return f"{kind.__module__}:{kind.__qualname__}"


def import_path(path: str, kind: str) -> Any:
    """The object behind ``pkg.module:attribute``; the error says which half is wrong."""
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise SecateurError(f"{kind} '{path}': cannot import module '{module_name}' "
                            f"({type(error).__name__}: {first_line(error)})") from error
    if not hasattr(module, attribute):
        raise unknown(f"attribute of {module_name} for {kind} '{path}'", attribute,
                      [n for n in vars(module) if not n.startswith("_")])
    return getattr(module, attribute)
