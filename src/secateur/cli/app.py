"""The command that all others hang on."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(name="secateur", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  epilog="\n\n".join(["Examples:", "secateur study --data digits --seeds 1",
                                      "secateur prune lenet-300-100 --data digits --sparsity 0.9",
                                      "secateur prune --help"]))
MEASURE, CUT, LOOK = "Measure", "Cut and export", "Look"
"""The panels of the commands."""


def _print_version(show: bool) -> None:
    """Print the version and leave."""
    if show:
        from secateur.core.version import __version__

        print(__version__)
        raise typer.Exit()


@app.callback()
def root(show: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True,
                                            help="print the version")] = False) -> None:
    """How much of a neural network can you cut, and what does the cut buy on your own machine?"""


def in_order(*names: str) -> None:
    """Show the commands in this order."""
    app.registered_commands.sort(key=lambda c: names.index(c.name or ""))
