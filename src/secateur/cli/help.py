"""Help as plain text: what a command does, examples that run, then its options by group, at any width.

Rich's panels cost a third of a second before a word is read, and cut what is wider than they are.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

_WIDEST, _NAMES = 100, 26
"""Columns that a line has at most, and those of the names in front of what they mean."""

Entry = tuple[str, str]
"""A name, and what it means."""


class _Lean:
    """The option ``--help`` has a truth value: of None typer would ask pydantic, whose import takes 0.1 s."""

    def get_help_option(self, ctx: Any) -> Any:
        """The option."""
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.default, option.help = bool(option.default), "print this help"
        return option


class Command(_Lean, TyperCommand):
    """A command whose help is this module's."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        formatter.write(command_help(self, ctx))


class Group(_Lean, TyperGroup):
    """The command that has all others, its help this module's."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        formatter.write(group_help(self, ctx))


def command_help(command: Any, ctx: Any, width: int = 0) -> str:
    """The help of one command, in lines of at most ``width`` columns; 0: those of the terminal."""
    width, bold = _form(width)
    sections = [_section(title, entries, width, bold) for title, entries in grouped(command, ctx).items()]
    return "\n\n".join([*_opening(command, ctx, width, bold), *sections]) + "\n"


def grouped(command: Any, ctx: Any) -> dict[str, list[Entry]]:
    """The arguments of a command, then its options by group."""
    groups: dict[str, list[Entry]] = {}
    params = [p for p in command.get_params(ctx) if not getattr(p, "hidden", False)]
    for p in sorted(params, key=lambda p: p.param_type_name != "argument"):
        is_argument = p.param_type_name == "argument"
        title = "Arguments" if is_argument else p.rich_help_panel or "Options"
        name = (p.metavar or p.name.upper()) if is_argument else _names(p)
        groups.setdefault(title, []).append((name, p.help or ""))
    return groups


def group_help(group: Any, ctx: Any, width: int = 0) -> str:
    """The help of the command that has all others."""
    width, bold = _form(width)
    commands = [group.get_command(ctx, name) for name in group.list_commands(ctx)]
    panels = dict.fromkeys(c.rich_help_panel for c in commands)
    parts = _opening(group, ctx, width, bold)
    parts += [_section(panel, [(c.name, paragraphs(c.help)[0]) for c in commands if c.rich_help_panel == panel], width,
                       bold, names=12) for panel in panels]
    parts += [_section("Options", [(_names(p), p.help or "") for p in group.get_params(ctx)], width, bold),
              "secateur COMMAND --help: all options of a command."]
    return "\n\n".join(parts) + "\n"


def _form(width: int) -> tuple[int, Callable[[str], str]]:
    """The width of lines, and how headings are written."""
    coloured = not width and sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return (width or min(shutil.get_terminal_size().columns, _WIDEST),
            lambda text: f"\x1b[1m{text}\x1b[0m" if coloured else text)


def _opening(command: Any, ctx: Any, width: int, bold: Callable[[str], str]) -> list[str]:
    """How it is called, what it does, and its examples."""
    usage = " ".join(command.collect_usage_pieces(ctx))
    texts = ["\n".join(textwrap.wrap(text, width, break_on_hyphens=False)) for text in paragraphs(command.help)]
    examples = [shell_lines(line, width) for line in paragraphs(command.epilog)]
    shown = ["\n".join([bold("Examples:"), *examples])] if examples else []
    return [f"{bold('Usage:')} {ctx.command_path} {usage}", *texts, *shown]


def paragraphs(text: str | None) -> list[str]:
    """The paragraphs of a text, each one line."""
    return [" ".join(part.split()) for part in (text or "").split("\n\n") if part.strip()]


def shell_lines(command: str, width: int, indent: str = "  ") -> str:
    """A command that can be copied from several lines.

    >>> print(shell_lines("secateur bench mlp --sparsity 0.9", 26))
      secateur bench mlp \\
        --sparsity 0.9
    """
    joined = re.sub(r"(?<= )(--?[\w-]+) (?!-)", "\\1\N{NO-BREAK SPACE}", command)  # an option stays with its value
    lines = textwrap.wrap(joined, width - 6, break_long_words=False, break_on_hyphens=False)
    return indent + f" \\\n{indent}  ".join(line.replace("\N{NO-BREAK SPACE}", " ") for line in lines)


def _names(option: Any) -> str:
    """The spellings of an option, the short one first, and what it takes."""
    takes = "" if option.is_flag else f" {option.metavar or 'TEXT'}"
    return ", ".join([*sorted(option.opts, key=len), *option.secondary_opts]) + takes


def _section(title: str, entries: Sequence[Entry], width: int, bold: Callable[[str], str],
             names: int = _NAMES) -> str:
    """A heading, and names beside what they mean."""
    return "\n".join([bold(f"{title}:"), *columns(entries, width, names)]) if entries else ""


def columns(entries: Iterable[Entry], width: int, names: int = _NAMES) -> list[str]:
    """Names beside what they mean; a name that is too long for its column has a line of its own.

    >>> print("\\n".join(columns([("--a", "the first of two"), ("--much-longer", "two")], 22, 8)))
      --a   the first of
            two
      --much-longer
            two
    """
    lines: list[str] = []
    for name, text in entries:
        first = f"  {name}".ljust(names)
        beside = textwrap.wrap(text, width - names, break_on_hyphens=False) or [""]
        if len(first) > names - 1 and first.rstrip() == first:
            lines.append(first)
            first = " " * names
        lines += [(first + beside[0]).rstrip(), *(" " * names + line for line in beside[1:])]
    return lines
