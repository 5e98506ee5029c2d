"""The command that all others hang on."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(name="secateur", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="How much of a neural network can you cut, and what does the cut buy on your own machine?")
Debug = Annotated[bool, typer.Option("--debug", help="show the traceback of an error")]


def version(show: bool) -> None:
    """Print the version and leave."""
    if show:
        from secateur.core.version import __version__

        print(__version__)
        raise typer.Exit()


@app.callback()
def root(show: Annotated[bool, typer.Option("--version", callback=version, is_eager=True,
                                            help="print the version")] = False) -> None:
    """How much of a neural network can you cut, and what does the cut buy on your own machine?"""


def in_order(*names: str) -> None:
    """Show the commands in this order."""
    app.registered_commands.sort(key=lambda c: names.index(c.name or getattr(c.callback, "__name__", "")))
