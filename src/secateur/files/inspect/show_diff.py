"""What differs between two files, in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.text import Text

from secateur.core import text
from secateur.core.terminal import Terminal
from secateur.core.text import clean
from secateur.files.inspect.show import plain

_LONGEST = 200
"""Characters of a setting that are shown; what a search tried takes thousands."""


def show(found: dict[str, Any], console: Terminal | None = None) -> None:
    """Print what :func:`secateur.files.inspect.diff` found."""
    console = console or Terminal()
    for line in _heading(found):
        console.print(Text(line), soft_wrap=not console.is_terminal)
    for title, rows in (("group of neurons", found["groups"]), ("tensor", found["tensors"])):
        if rows:
            table = plain(title, "removed in A" if title != "tensor" else "zero in A", "in B", "in common", "differ by")
            for name, one in rows.items():
                shares = (*one["sparsity"], one["common"])
                table.add_row(Text(clean(name)), *map(_percent, shares), _distance(one))
            console.print(table)


def _heading(found: dict[str, Any]) -> Iterator[str]:
    """The verdict, the files, and what can be said without a table."""
    yield "the same network" if found["same"] else "the networks differ"
    for key, place in (("A", 0), ("B", 1)):
        facts = {name: values[place] for name, values in found["facts"].items()}
        yield (f"{key} {found[key.lower()]}: {clean(facts['network'])}, sparsity {found['sparsity'][place]:.4f}, "
               f"weights in {facts['bits'] or 'no'} bits, "
               f"{text.count(facts['bytes'])} bytes, format {facts['format']}, secateur {clean(facts['secateur'])}"
               + (f", torch {clean(facts['torch'])}" if facts["torch"] else ""))
    for key in ("a", "b"):
        yield from (f"only in {key.upper()}: {clean(name)}" for name in found[f"only_{key}"])
    yield from (f"{clean(name)}: {a} in A, {b} in B" for name, (a, b) in found["shapes"].items())
    yield from (f"setting {clean(name)}: {_in_words(a)} in A, {_in_words(b)} in B"
                for name, (a, b) in found["settings"].items())


def _in_words(value: str | None) -> str:
    """A setting in words, none of which is a value: absent, empty, or left to its default; long ones are shortened.

    >>> _in_words(None), _in_words(""), _in_words("None"), _in_words("none")
    ('absent', 'empty', 'not given', 'none')
    """
    shown = "absent" if value is None else {"": "empty", "None": "not given"}.get(value) or clean(value)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}… ({len(shown):,} characters)"


def _percent(value: float | None) -> str:
    """A fraction; a dash where there is none."""
    return "–" if value is None else text.percent(value)


def _distance(one: dict[str, Any]) -> str:
    """How far two tensors are apart, or whether the same units went."""
    if "greatest" not in one:
        return "other units" if one["differ"] else "same"
    if not one["differ"]:
        return "same"
    return "not finite" if one["greatest"] is None else f"{one['greatest']:.3g}"
