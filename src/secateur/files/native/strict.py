"""JSON of a file that nobody vouches for: every name once, whole numbers of 64 bits, bounded depth; never more."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from secateur.core.errors import SecateurError, first_line

T = TypeVar("T")
_DIGITS = 20
_DEPTH = 64
_SHOWN = 12
MOST = 2**63 - 1


def read_json(text: str | bytes, what: str) -> Any:
    """JSON as Python values.

    Raises:
        SecateurError: it is not valid JSON, names something twice, nests deeper than 64, or holds too large a number.

    >>> read_json('{"a": 1, "a": 2}', "the header")
    Traceback (most recent call last):
    secateur.core.errors.SecateurError: the header names 'a' twice
    """
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict[str, Any]()
        for name, value in pairs:
            if name in found:
                raise SecateurError(f"{what} names '{short(name)}' twice")
            found[name] = value
        return found

    def whole(digits: str) -> int:
        if len(digits) > _DIGITS or abs(int(digits)) > MOST:
            raise SecateurError(f"{what} holds a number of {len(digits)} digits; allowed are numbers of 64 bits")
        return int(digits)

    def constant(name: str) -> float:
        raise SecateurError(f"{what} holds {name}, which is not JSON")

    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        found = json.loads(text, object_pairs_hook=once, parse_int=whole, parse_constant=constant)
    except SecateurError:
        raise
    except RecursionError as error:
        raise SecateurError(f"{what} nests deeper than {_DEPTH}") from error
    except ValueError as error:
        raise SecateurError(f"{what} is not valid JSON: {first_line(error)}") from error
    _check_depth(found, what)
    return found


def _check_depth(value: Any, what: str) -> None:
    """Refuse what nests deeper than :data:`_DEPTH`, without recursion."""
    level, depth = [value], 0
    while level:
        if depth > _DEPTH:
            raise SecateurError(f"{what} nests deeper than {_DEPTH}")
        level = [inner for v in level if isinstance(v, (dict, list))
                 for inner in (v.values() if isinstance(v, dict) else v) if isinstance(inner, (dict, list))]
        depth += 1


def typed(value: Any, kind: type[T], what: str) -> T:
    """A value of exactly this type.

    Raises:
        SecateurError: it has another one; ``True`` is no number.

    >>> typed(3, int, "a size")
    3
    """
    if type(value) is not kind:
        raise SecateurError(f"{what} is {kind_of(value)}, allowed is {kind_of(kind())}")
    return value


def size(value: Any, what: str) -> int:
    """A whole number of at least nought."""
    if typed(value, int, what) < 0:  # type: ignore[operator]
        raise SecateurError(f"{what} is {value}, allowed are whole numbers from 0")
    return int(value)


def shape(value: Any, what: str) -> tuple[int, ...]:
    """Sizes of at most 64 axes whose product fits 63 bits."""
    sizes = tuple(size(v, what) for v in typed(value, list, what))
    total = 1
    for side in sizes:
        total *= max(side, 1)
        if total > MOST or len(sizes) > _DEPTH:
            raise SecateurError(f"{what} is not a valid shape of a tensor")
    return sizes


def fields(value: Any, names: set[str], what: str) -> dict[str, Any]:
    """A JSON object with exactly these names.

    Raises:
        SecateurError: one is missing, or another one is there.
    """
    if (found := set(typed(value, dict, what))) != names:
        shown = sorted(map(short, found))[:_SHOWN]
        more = f", … ({len(found)})" if len(found) > _SHOWN else ""
        raise SecateurError(f"{what} has {', '.join(shown) or 'nothing'}{more}; needed: {', '.join(sorted(names))}")
    return dict(value)


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    known = {dict: "an object", list: "a list", str: "a text", int: "a whole number", float: "a number",
             bool: "true or false", type(None): "null"}
    return known.get(type(value), type(value).__name__)


def short(text: Any, most: int = 60) -> str:
    """A text of a file as it can be shown in one line.

    >>> short("a" * 100 + chr(10), 10)
    'aaaaaaaaaa…'
    """
    shown = "".join(c if c.isprintable() else "?" for c in str(text)[:most])
    return shown + "…" * (len(str(text)) > most)
