"""docs/commands.md, made from the commands themselves: every command, its examples, its options by group.

``python tools/site/commands.py`` writes it; a test holds that it is current.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from secateur.cli import app
from secateur.cli.help import grouped, paragraphs, shell_lines

PAGE = Path(__file__).parent.parent.parent / "docs" / "commands.md"
WIDTH = 88
INTRODUCTION = (
    "# All commands\n\n"
    "This page is generated from the help of the commands: `secateur COMMAND --help` prints the same. "
    "`secateur --install-completion` lets the shell complete commands, options and names with the Tab key. "
    "`secateur list` prints every criterion, granularity, scope, recovery, data set, model, engine and format, with "
    "a description.\n\n"
    "Separate several values of an option with commas: `--sparsity 0,0.5,0.9`. Sparsity is the fraction that "
    "is removed, from 0 to 1. Exit codes: 0 for success, 1 for an internal error (and for `diff` where the networks "
    "differ), 2 for a mistake that you can correct, 130 after Ctrl-C.")


def page() -> str:
    """The page."""
    root = typer.main.get_command(app)
    with root.make_context("secateur", [], resilient_parsing=True) as context:
        parts = [part for name in root.list_commands(context) for part in _command(root.get_command(context, name),
                                                                                   context)]
    return "\n\n".join([INTRODUCTION, *parts]) + "\n"


def _command(command: Any, parent: Any) -> Iterator[str]:
    """One command: what it does, its examples, its arguments and options."""
    with command.make_context(command.name, [], parent=parent, resilient_parsing=True) as context:
        usage = " ".join(command.collect_usage_pieces(context))
        yield f"## secateur {command.name}"
        yield from map(_escaped, paragraphs(command.help))
        examples = "\n".join(shell_lines(line, WIDTH, indent="") for line in paragraphs(command.epilog))
        yield f"```text\nsecateur {command.name} {usage}\n```"
        yield f"```text title=\"Examples\"\n{examples}\n```"
        for title, entries in grouped(command, context).items():
            rows = [f"| `{name.replace('|', chr(92) + '|')}` | {_escaped(text)} |" for name, text in entries]
            yield "\n".join([f"| {title} | |", "| --- | --- |", *rows])


def _escaped(text: str) -> str:
    """A text whose signs are no Markdown.

    >>> _escaped("A|B, a*b <c> [x](y)")
    'A\\\\|B, a\\\\*b &lt;c> \\\\[x](y)'
    """
    for sign in "|*_[`":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
