"""What a request to ``serve.py`` may be: a head and a body that can be read in one way alone. All else is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from batches import Refused
from torch import Tensor

RAW = "application/octet-stream"
JSON = ("application/json", "application/json;charset=utf-8", 'application/json;charset="utf-8"')
PATHS = {"/health": ("GET", "HEAD"), "/predict": ("POST",)}
ONCE = {"connection", "content-encoding", "content-length", "content-type", "expect", "host", "transfer-encoding"}
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_FIRST_LINE = re.compile(rf"({_WORD}) ([!-~]+) HTTP/1\.([01])")
_FIELD = re.compile(rf"({_WORD}):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")


@dataclass(frozen=True)
class Head:
    """Method, path and header fields, their names in lower case."""

    method: str
    path: str
    fields: dict[str, str]
    keep_open: bool

    @property
    def raw(self) -> bool:
        """Whether the body holds float32 values, not JSON."""
        return self.fields.get("content-type", "").lower() == RAW


def read_head(sent: bytes) -> Head:
    """The head of a request, up to its empty line.

    Raises:
        Refused: it is no HTTP, or a header that decides something occurs twice.
    """
    first, *lines = sent.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    found, fields = _FIRST_LINE.fullmatch(first), dict[str, str]()
    if not found:
        raise Refused(400, f"the request begins with {first[:40]!r}; allowed is METHOD PATH HTTP/1.1")
    for line in lines:
        field = _FIELD.fullmatch(line)
        if not field:
            raise Refused(400, f"got {line[:40]!r} as a header; allowed is NAME: VALUE on one line")
        name = field[1].lower()
        if name in fields and name in ONCE:
            raise Refused(400, f"got several headers {field[1]}; allowed is one")
        fields[name] = field[2]
    return Head(found[1], found[2], fields, found[3] == "1" and fields.get("connection", "").lower() != "close")


def body_length(head: Head, most: int) -> int:
    """The bytes that follow the head.

    Raises:
        Refused: they are too many, or where the request ends can be read in several ways.
    """
    length = head.fields.get("content-length", "" if head.method == "POST" else "0")
    if "transfer-encoding" in head.fields:
        raise Refused(400, "got Transfer-Encoding; allowed is a body with Content-Length")
    if not re.fullmatch("[0-9]{1,12}", length):
        raise Refused(400, f"Content-Length is '{length[:20]}'; allowed is up to {most}")
    if int(length) > most:
        raise Refused(413, f"Content-Length is '{length}'; allowed is up to {most}")
    if int(length) and head.method in ("GET", "HEAD"):
        raise Refused(400, f"got {head.method} with a body of {length} bytes; allowed is none")
    return int(length)


def check(head: Head) -> None:
    """Refuse a path, a method and a kind of body that the server does not take."""
    if head.path not in PATHS:
        raise Refused(404, f"no such path: {head.path}; there are {' and '.join(PATHS)}")
    if head.method not in PATHS[head.path]:
        raise Refused(405, f"{head.method} {head.path}: allowed is {', '.join(PATHS[head.path])}")
    kind, coding = head.fields.get("content-type", JSON[0]), head.fields.get("content-encoding", "identity")
    if not head.raw and re.sub(r"[ \t]", "", kind.lower()) not in JSON:
        raise Refused(400, f"Content-Type is '{kind[:80]}'; allowed are {JSON[0]} in UTF-8 and {RAW}")
    if coding.lower() != "identity":
        raise Refused(400, f"Content-Encoding is '{coding[:40]}'; allowed is none")
    if head.fields.get("expect", "100-continue").lower() != "100-continue":
        raise Refused(400, f"Expect is '{head.fields['expect'][:40]}'; allowed is 100-continue")


def read_samples(body: bytes, raw: bool, shape: Sequence[int], most: int) -> Tensor:
    """The samples of a request, ``(n, *shape)``.

    Raises:
        Refused: they are not what the network takes; the message says what it takes.
    """
    item = int(np.prod(shape))
    if raw and (not body or len(body) % (4 * item)):
        raise Refused(400, f"got {len(body)} bytes; allowed are samples of {item} float32 values, {4 * item} bytes")
    values = np.frombuffer(body, "<f4").reshape(-1, *shape) if raw else _numbers(body)
    if values.ndim < 1 or values.shape[1:] != tuple(shape) or not 1 <= len(values) <= most:
        raise Refused(400, f"inputs have shape {list(values.shape)}; allowed is [n, {', '.join(map(str, shape))}], "
                           f"n from 1 to {most}")
    return torch.from_numpy(_finite(values))


def _finite(values: np.ndarray) -> np.ndarray:
    """The values as float32, in memory of their own."""
    try:
        with np.errstate(over="ignore"):
            found = values.astype(np.float32)
    except OverflowError:
        found = None
    if found is None or not np.isfinite(found).all():
        raise Refused(400, "inputs hold values that are no finite float32 numbers")
    return found


def _numbers(body: bytes) -> np.ndarray:
    """The inputs of a JSON body as an array of Python's numbers.

    They are looked at one by one: NumPy takes ``true`` and ``"1"`` for numbers.
    """
    try:
        told = json.loads(body.decode(), object_pairs_hook=_without_twins, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is no JSON in UTF-8: {str(error)[:100]}") from error
    if not isinstance(told, dict) or told.keys() != {"inputs"}:
        raise Refused(400, 'the body is no {"inputs": [sample, …]}')
    values = np.asarray(told["inputs"], dtype=object)
    if wrong := set(map(type, values.flat)) - {int, float}:
        kinds = ", ".join(sorted(kind.__name__ for kind in wrong))
        raise Refused(400, f"inputs are no array of numbers: got {kinds} where a number is expected")
    return values


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, each of its keys once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _no_number(word: str) -> NoReturn:
    """NaN and Infinity are no JSON, though Python writes and reads them."""
    raise ValueError(f"{word} is no finite number")
