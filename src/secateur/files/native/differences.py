"""How the tensors of a file and of a network differ, with every name, in one line short enough to read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")


def differences(saved: Mapping[str, str], own: Mapping[str, str]) -> str:
    """How the shapes of a file and of a network differ; empty where they are the same.

    >>> differences({"a": "[2]", "b": "[3]"}, {"a": "[4]", "b": "[3]", "c": "[1]"})
    '2 tensors differ: a is [2] in the file but [4] in that network; c is [1] in that network but missing from the file'
    """
    names = [n for n in [*saved, *(n for n in own if n not in saved)] if saved.get(n) != own.get(n)]
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(_difference(saved.get(name), own.get(name)), []).append(name)
    told = "; ".join(f"{', '.join(_fold(found))} {'is' if len(found) == 1 else 'are'} {kind}"
                     for kind, found in kinds.items())
    return f"{len(names)} tensor{'s differ' if len(names) > 1 else ' differs'}: {told}" if names else ""


def _difference(saved: str | None, own: str | None) -> str:
    """How one tensor differs."""
    if saved is None:
        return f"{own} in that network but missing from the file"
    return f"{saved} in the file but {'missing from that network' if own is None else f'{own} in that network'}"


def _fold(names: Sequence[str]) -> list[str]:
    """Names that differ only in one number, which counts up, joined into one.

    >>> _fold(["layers.0.bias", "layers.1.bias", "layers.2.bias", "head.bias"])
    ['layers.0…2.bias', 'head.bias']
    """
    found: list[tuple[str, str, int, int, str]] = []
    for name in names:
        number = _NUMBER.search(name)
        start, end = number.span() if number else (len(name), len(name))
        before, after, at = name[:start], name[end:], int(name[start:end]) if number else -1
        run = next((i for i, (b, a, _, last, _) in enumerate(found) if number and (b, a) == (before, after)
                    and last + 1 == at), None)
        if run is None:
            found.append((before, after, at, at, name))
        else:
            found[run] = (before, after, found[run][2], at, name)
    return [name if first == last else f"{before}{first}…{last}{after}" for before, after, first, last, name in found]
