"""A file in the terminal: the network as a tree, its tensors as a table, what it was made with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from secateur import files
from secateur.core import text as words
from secateur.core.terminal import Terminal
from secateur.core.text import clean
from secateur.files import FileFacts, TensorFacts
from secateur.files.inspect.layers import layers, sparsity

_USUAL = 32
"""Bits of a value of which the table says nothing."""


def show(path: str | Path, console: Terminal | None = None) -> None:
    """Print what a file says of its network.

    Raises:
        SecateurError: the file is missing, damaged or of other origin.
    """
    console, facts, found = console or Terminal(), files.tell(path), layers(path)
    for line in _heading(facts, found):
        console.print(Text(line), soft_wrap=not console.is_terminal)
    console.print(_tree(facts, found))
    if groups := [cut for cut in facts.cuts if cut.what == "neuron"]:
        console.print(_group_table(groups))
    console.print(_tensor_table(found))
    for line in _settings(facts.settings):
        console.print(Text(line))
    for part, value in facts.settings.items():
        for name, rows in _lists(value):
            console.print(Text(f"{clean(part)}, {clean(name)}:"))
            console.print(_list_table(rows))


def _settings(settings: dict[str, Any]) -> list[str]:
    """How a file was made, a line for each part.

    Layers are left out because the table has them, and times because they belong to the machine that took them.
    """
    lines = []
    for part, value in settings.items():
        listed = {"layers", *(name for name, _ in _lists(value))}
        told = {k: v for k, v in value.items() if k not in listed} if isinstance(value, dict) else {"": value}
        known = flat(told)
        text = ", ".join(f"{k} {v}".strip() for k, v in known.items() if v not in ("", "None", "[]"))
        if part != "timing":
            lines.append(f"{clean(part)}: {clean(text)}")
    return lines


def _lists(part: Any) -> list[tuple[str, list[dict[str, Any]]]]:
    """What a part of the settings holds as a list of like things without names, such as what a search tried."""
    items = part.items() if isinstance(part, dict) else ()
    return [(name, value) for name, value in items if isinstance(value, list) and value
            and all(isinstance(one, dict) and "name" not in one for one in value)]


def _list_table(rows: Sequence[dict[str, Any]]) -> Table:
    """A row for each, a column for each value in which they differ."""
    cells = [flat(row) for row in rows]
    names = [n for n in dict.fromkeys(chain(*cells)) if len(rows) == 1 or len({row.get(n) for row in cells}) > 1]
    made = plain(*(clean(name.split(".")[-1]) for name in names)) if names else Table(box=None)
    for row in cells:
        made.add_row(*(Text(clean(row.get(name, ""))) for name in names))
    return made


def _heading(facts: FileFacts, found: Sequence[TensorFacts]) -> list[str]:
    """The first lines: what it is, how many bytes, which versions wrote it."""
    dense = sum(one.dense_bytes for one in found)
    torch = f", torch {clean(facts.torch)}" if facts.torch else ""
    runs = "loads without a factory" if facts.runnable else "loads with the factory of the network before the cut"
    return [f"{facts.path}: {clean(facts.network)}, {_summary(found)}{_bits(facts)}",
            f"{words.count(facts.bytes)} bytes on disk, {words.percent(facts.bytes / max(1, dense))} of the tensors "
            f"before the cut ({words.count(dense)} bytes)",
            f"format {facts.format}, written by secateur {clean(facts.secateur)}{torch}; {runs}"]


def _bits(facts: FileFacts) -> str:
    """In how many bits the weights are, where that is not 32."""
    return f", weights in {facts.bits} bits" if facts.layers else ""


def _summary(found: Sequence[TensorFacts]) -> str:
    """What was cut, in a few words."""
    told = [text for text, cut in (("neurons removed", any(one.before != one.shape for one in found)),
                                   ("weights zeroed", any(one.zeros and one.weight for one in found))) if cut]
    return ", ".join([*told, f"sparsity of the weights {sparsity(found):.4f}"]) if told else "nothing cut"


def _tree(facts: FileFacts, found: Sequence[TensorFacts]) -> Tree:
    """The modules of the network, with what is left of every tensor."""
    root = Tree(Text(clean(facts.network), style="bold"), guide_style="dim")
    nodes: dict[tuple[str, ...], Tree] = {(): root}
    for one in found:
        *path, last = one.name.split(".")
        for depth in range(len(path)):
            key = tuple(path[:depth + 1])
            if key not in nodes:
                nodes[key] = nodes[key[:-1]].add(Text(clean(key[-1])))
        nodes[tuple(path)].add(_leaf(last, one))
    return root


def _leaf(name: str, one: TensorFacts) -> Text:
    """A tensor in the tree: red where weights were zeroed, blue where neurons went."""
    text = Text(f"{clean(name)} ")
    cut = one.before != one.shape
    text.append(f"{_sides(one.before)} → {_sides(one.shape)}" if cut else _sides(one.shape), "blue" if cut else "")
    if one.zeros and one.weight:
        text.append(f" {words.percent(one.zeros)} zero", "red")
    return text


def _tensor_table(found: Sequence[TensorFacts]) -> Table:
    """How every tensor is stored."""
    made = plain("tensor", "before", "after", "zero", "gone", "stored as", "bytes", "of dense")
    for one in found:
        narrow = f" {one.values}" if one.values != one.dtype or one.bits != _USUAL else ""
        gone = [words.percent(x) if one.weight else "" for x in (one.zeros, one.sparsity)]
        made.add_row(Text(clean(one.name)), _sides(one.before), _sides(one.shape) if one.shape != one.before else "",
                     *gone, one.form + narrow, words.count(one.bytes),
                     words.percent(one.bytes / one.dense_bytes, 0) if one.dense_bytes else "")
    return made


def _group_table(groups: Sequence[Any]) -> Table:
    """What each cut left of each group of neurons."""
    made = plain("group of neurons", "cut", "before", "after", "sparsity")
    for cut in groups:
        made.add_row(Text(clean(cut.name)), str(cut.step), words.count(cut.before), words.count(cut.after),
                     f"{1 - cut.after / max(1, cut.before):.4f}")
    return made


def plain(first: str, *others: str) -> Table:
    """A table without lines, numbers to the right."""
    made = Table(first, *others, box=None, header_style="bold", padding=(0, 1, 0, 0))
    for column in made.columns[1:]:
        column.justify, column.no_wrap = "right", True
    made.columns[0].overflow = "fold"
    return made


def _sides(shape: Sequence[int]) -> str:
    """A shape as it is read.

    >>> _sides((64, 3, 3, 3)), _sides(())
    ('64×3×3×3', 'one value')
    """
    return "×".join(map(str, shape)) or "one value"


def flat(settings: Any, prefix: str = "") -> dict[str, str]:
    """Settings within settings by dotted names.

    >>> flat({"seeds": [1, 2], "before": {"bytes": 4}, "layers": [{"name": "a", "items": 3}]})
    {'seeds': '1,2', 'before.bytes': '4', 'layers.a.items': '3'}
    """
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and all(isinstance(v, dict) and "name" in v for v in value):
            found |= flat({str(v["name"]): {k: x for k, x in v.items() if k != "name"} for v in value},
                          f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = ",".join(map(str, value)) if isinstance(value, list) else (
                f"{value:.6g}" if isinstance(value, float) else str(value))
    return found
