"""Commands made from classes of settings: a flag for every field, in the help's panels by group."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from secateur.cli.app import HELP, app
from secateur.cli.help import Command
from secateur.core import registry
from secateur.core.settings import GROUPS, REQUIRED, Setting, Settings, check_forms, settings_of

_Debug = Annotated[bool, typer.Option("--debug", help="show the traceback of an error", show_default=False)]
_METAVARS = {int: "N", float: "X", str: "TEXT"}


def command(name: str, *classes: type[Settings], panel: str, examples: tuple[str, ...] = ()) -> Callable[[Any], Any]:
    """Register a function as a command with a flag for every setting of some classes.

    The settings that are given arrive as the mapping ``settings``, as text; the function's other parameters are options
    of its own. Every command has ``--debug``, which :func:`secateur.cli.main.main` reads.
    """
    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY)
               for p in inspect.signature(function, eval_str=True).parameters.values() if p.name != "settings"]
        debug = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_Debug)
        names = [name for one in every for name in one.names]

        def call(**values: Any) -> None:
            settings = {name: value for name in names if (value := values.pop(name)) is not None}
            values.pop("debug")
            # A file may hold the other settings, so that those that go with these are not known yet.
            check_forms(classes, settings, are_all=False)
            function(**({"settings": settings} if classes else {}), **values)

        flags = [flag for one in every for flag in _parameters(one)]
        call.__signature__ = inspect.Signature([*flags, *own, debug])  # type: ignore[attr-defined]
        call.__doc__ = function.__doc__
        app.command(name, cls=Command, epilog="\n\n".join(examples), rich_help_panel=panel,
                    context_settings=HELP)(call)
        return function

    every = sorted((one for cls in classes for one in settings_of(cls) if one.flag),
                   key=lambda one: GROUPS.index(one.group))
    return decorate


def _complete(one: Setting) -> Callable[[str], list[tuple[str, str]]]:
    """What the shell offers for a setting: the names that it allows, of several behind the last comma."""
    def complete(incomplete: str) -> list[tuple[str, str]]:
        before, comma, last = incomplete.rpartition(",")
        files = registry.files(one.room) if one.room else {}
        told = {name: registry.description(files[name]) if name in files else "" for name in
                one.allowed or registry.allowed(one.room)}
        return [(f"{before}{comma}{name}", text) for name, text in told.items() if name.startswith(last)]

    return complete


def _parameters(one: Setting) -> Iterator[inspect.Parameter]:
    """The flag of a setting, and a hidden one for each earlier name; or its argument."""
    for name in one.names:
        visible = name == one.names[0]
        kind, must = bool if one.item is bool else str, one.default is REQUIRED
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY,
                                default=inspect.Parameter.empty if must else None,
                                annotation=Annotated[kind if must else kind | None, _option(one, name, visible)])


def _option(one: Setting, name: str, visible: bool) -> Any:
    """A switch, or text that is read as the setting's type later."""
    if one.argument and visible:
        return typer.Argument(help=_help(one), metavar=one.argument, show_default=False)
    flag = f"--{name.replace('_', '-')}"
    flag = f"{flag}/--no-{flag[2:]}" if one.default is True else flag
    metavar = None if one.item is bool else "A,B,…" if one.several else _METAVARS[one.item]
    return typer.Option(flag, help=_help(one), metavar=metavar, show_default=False, hidden=not visible,
                        rich_help_panel=one.group or None,
                        autocompletion=_complete(one) if one.room or one.allowed else None)


def _help(one: Setting) -> str:
    """What a setting is, the names that it allows, and its default."""
    values = one.default if isinstance(one.default, tuple) else (one.default,)
    default_text = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)
    names = f": {', '.join(one.allowed)}" if one.allowed else ""
    if one.item is bool:
        return one.help + " (default: on)" * (one.default is True)
    default = "" if one.default in (None, "", (), REQUIRED) else f" (default: {default_text})"
    return one.help + names + default
