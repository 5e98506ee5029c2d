"""The command that all others hang on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer import completion

from secateur.cli.help import Group

HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(name="secateur", cls=Group, no_args_is_help=True, add_completion=False,
                  pretty_exceptions_enable=False, rich_markup_mode=None, context_settings=HELP, epilog="\n\n".join([
                      "secateur study --quick",
                      "secateur prune lenet-300-100 --data digits --sparsity 0.9",
                      "secateur info pruned.safetensors"]))
MEASURE, CUT, LOOK = "Measure", "Cut and export", "Look"
"""The panels of the commands."""


def _print_version(show: bool) -> None:
    """Print the version and leave."""
    if show:
        from secateur.core.version import __version__

        print(__version__)
        raise typer.Exit()


def _install_completion(context: typer.Context, chosen: bool) -> None:
    """Write the completion of the shell that calls into its settings, and leave."""
    completion.install_callback(context, None, chosen)  # type: ignore[arg-type]


def _show_completion(context: typer.Context, chosen: bool) -> None:
    """Print the completion of the shell that calls, and leave."""
    completion.show_callback(context, None, chosen)  # type: ignore[arg-type]


def _switch(flag: str, callback: Callable[..., None], text: str) -> Any:
    """An option that does something and leaves. Typer's own for completion take 0.1 s of every command."""
    return typer.Option(flag, callback=callback, is_eager=True, help=text)


completion.completion_init()  # type: ignore[attr-defined]


@app.callback()
def root(
    version: Annotated[bool, _switch("--version", _print_version, "print the version")] = False,
    install: Annotated[bool, _switch("--install-completion", _install_completion,
                                     "let the shell complete commands, options and names with the Tab key")] = False,
    show: Annotated[bool, _switch("--show-completion", _show_completion, "print the completion script instead of "
                                                                         "installing it")] = False,
) -> None:
    """How much of a neural network can you cut, and what does the cut buy on your own machine?"""


def in_order(*names: str) -> None:
    """Show the commands in this order."""
    app.registered_commands.sort(key=lambda c: names.index(c.name or ""))
