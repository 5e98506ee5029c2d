"""Docstrings of the package as Markdown: roles become links, examples and indented code become blocks of code.

The docstrings are written to be read in an editor; this extension of griffe gives mkdocstrings what it can render.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|meth|data|mod|attr):`(~?)([\w.]+)`")
JOINED = re.compile(r"^( +)(\w+(?:, \w+)+)(: .*)$")
FIELD = re.compile(r"``[\w, `]+``: ")


class Markdown(griffe.Extension):
    """Rewrites every docstring of the package once, before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **given: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = rewritten(obj.docstring.value, obj.path)


def rewritten(text: str, path: str) -> str:
    """A docstring as Markdown; ``path`` is where it stands, for links to what stands beside it."""
    linked = ROLE.sub(lambda role: link(role, path), text).splitlines()
    lines = fenced([part for line in linked for part in apart(line)])
    return "\n".join(f"- {line}" if FIELD.match(line) else line for line in lines)


def apart(line: str) -> list[str]:
    """Arguments that share one text, ``least, most: ...``, as one line each; the last has the text."""
    joined = JOINED.match(line)
    if not joined:
        return [line]
    *others, last = joined[2].split(", ")
    return [*(f"{joined[1]}{name}: see ``{last}``" for name in others), f"{joined[1]}{last}{joined[3]}"]


def link(role: re.Match[str], path: str) -> str:
    """A role as a link that may lead nowhere, since not everything has a place in the reference."""
    short, name = role.groups()
    shown = name.rpartition(".")[2] if short else name
    room = path if "." not in name and path.rpartition(".")[2][:1].isupper() else path.rpartition(".")[0]
    target = name if "." in name else f"{room}.{name}"
    return f'<autoref identifier="{target}" optional><code>{shown}</code></autoref>'


def fenced(lines: list[str]) -> list[str]:
    """Examples (``>>>`` up to an empty line) and what stands indented behind ``::`` in fences."""
    found: list[str] = []
    end = ""
    for number, line in enumerate(lines):
        indent = line[:len(line) - len(line.lstrip())]
        if not end and line.lstrip().startswith(">>> "):
            end = "blank"
            found.append(f"{indent}```pycon")
        elif end == "blank" and not line.strip():
            end = ""
            found.append(f"{indent_of(lines[number - 1])}```")
        elif not end and line.strip() == "::":
            end = "dedent"
            found.append("```python")
            continue
        elif end == "dedent" and line.strip() and not indent:
            end = ""
            found.append("```")
        found.append(line)
    return [*found, *([f"{indent_of(lines[-1])}```"] if end == "blank" else ["```"] if end else [])]


def indent_of(line: str) -> str:
    """The white space at the start of a line."""
    return line[:len(line) - len(line.lstrip())]
