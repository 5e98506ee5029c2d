"""Flags of a command, made from the fields of its settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Annotated, Any

import typer

from secateur.core.errors import SecateurError
from secateur.core.settings import like


def with_settings(*classes: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one flag for every field of some classes; those that are given arrive as ``settings``."""
    known = [f for cls in classes for f in fields(cls)]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
               for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "settings"]

        def wrapped(**values: Any) -> None:
            settings = {f.name: v for f in known if (v := values.pop(f.name)) is not None}
            command(settings=settings, **values)

        wrapped.__signature__ = inspect.Signature([*map(_flag, known), *own])  # type: ignore[attr-defined]
        wrapped.__doc__, wrapped.__name__ = command.__doc__, command.__name__
        return wrapped

    return decorate


def _flag(setting: Field[Any]) -> inspect.Parameter:
    """The command-line flag of a setting: a switch, or text that is read as the setting's type later."""
    switch = isinstance(setting.default, bool)
    name = f"--{setting.name}/--no-{setting.name}" if setting.default is True else f"--{setting.name}"
    option = (typer.Option(name, help=setting.metadata["help"], show_default=False) if switch else
              typer.Option(help=_help(setting), show_default=False, metavar=_metavar(like(setting))))
    return inspect.Parameter(setting.name, inspect.Parameter.KEYWORD_ONLY, default=None,
                             annotation=Annotated[bool | None if switch else str | None, option])


def _help(setting: Field[Any]) -> str:
    """What a setting is, with its default."""
    if setting.default is None:
        return str(setting.metadata["help"])
    values = setting.default if isinstance(setting.default, tuple) else (setting.default,)
    shown = ",".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)
    return f"{setting.metadata['help']} (default: {shown or 'none'})"


def _metavar(default: Any) -> str:
    return {tuple: "A,B,…", int: "N", float: "X", str: "TEXT"}[type(default)]


def sides_of(shape: str) -> tuple[int, ...]:
    """The numbers of ``--shape``."""
    if not all(part.strip().isdigit() for part in shape.split(",")):
        raise SecateurError(f"--shape {shape}: allowed are whole numbers with commas, such as 3,32,32")
    return tuple(int(part) for part in shape.split(","))
