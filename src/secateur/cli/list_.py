"""``secateur list``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from secateur.cli.app import LOOK
from secateur.cli.flags import command
from secateur.cli.help import columns
from secateur.core import registry
from secateur.core.text import capital

GIVEN_TO = {"criteria": "--criterion", "granularity": "--granularity", "scopes": "--scope", "recovery": "--recovery",
            "schedules": "sc.Pruner(schedule=...)", "regrowth": "sc.Pruner(regrowth=...)", "data": "--data",
            "models": "--model", "loaders": "--model", "engines": "secateur bench --engine",
            "exporters": "secateur export --to"}
"""Where the names of each registry are given."""


@command("list", panel=LOOK, examples=("secateur list", "secateur list --files"))
def list_items(
    files: Annotated[bool, typer.Option("--files", help="also print the file of each item")] = False,
) -> None:
    """Print every criterion, granularity, scope, recovery, data set, model, engine and format, with a description."""
    width = min(shutil.get_terminal_size().columns, 100)
    for room, word in registry.ROOMS.items():
        print(f"{capital(word)} ({GIVEN_TO[room]})")
        entries = [(_written(room, name, path), registry.description(path) + (f" ({_place(path)})" if files else ""))
                   for name, path in registry.files(room).items()]
        print("\n".join(columns(entries, width, names=22)), end="\n\n")


def _written(room: str, name: str, path: Path) -> str:
    """What a user writes for an item: of a kind of network its form, without importing it."""
    return registry.constant(path, "form") if room == "loaders" else registry.WRITTEN.get(name, name)


def _place(path: Path) -> str:
    """The file of an item inside the package."""
    return f"secateur/{path.relative_to(registry.ROOT).as_posix()}"
