"""Settings as the fields of a frozen value: their help, and their values from text, TOML or Python."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import Field, field, fields
from pathlib import Path
from typing import Any, TypeVar, cast

from secateur.core.errors import SecateurError, unknown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Config = TypeVar("Config")


def setting(default: Any, help: str) -> Any:
    """A field with its help, which the command line shows."""
    return field(default=default, metadata={"help": help})


def optional(kind: type, help: str) -> Any:
    """A field that may be left out, with the type that it has where it is not."""
    return field(default=None, metadata={"help": help, "kind": kind})


def like(known: Field[Any]) -> Any:
    """A value of a field's type: its default, or where it has none the type's own."""
    return known.default if known.default is not None else known.metadata["kind"]()


def make(cls: type[Config], *layers: Mapping[str, Any]) -> Config:
    """A value of a class of settings from mappings, later ones winning.

    Raises:
        SecateurError: an unknown setting, a value of the wrong type.
    """
    merged = {key: value for layer in layers for key, value in layer.items()}
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    if strange := [k for k in merged if k not in known]:
        raise unknown("setting", strange[0], known)
    return cls(**{k: coerce(k, v, like(known[k])) for k, v in merged.items()})


def settle(config: Any) -> None:
    """Bring fields of a frozen value to the types of their defaults, where they are of others.

    Text becomes what it says, a single value or a list a tuple: what a caller writes in Python is taken as what is
    written in a file.

    Raises:
        SecateurError: a value that cannot be.
    """
    for known in fields(config):
        value, wanted = getattr(config, known.name), like(known)
        value = os.fspath(value) if isinstance(value, os.PathLike) else value
        if not (settled(value, wanted) or (value is None and known.default is None)):
            value = coerce(known.name, value, wanted)
        object.__setattr__(config, known.name, value)


def settled(value: Any, wanted: Any) -> bool:
    """Whether a value needs no change to be of a default's type; whole numbers are numbers, truth values are none."""
    if isinstance(wanted, tuple):
        return isinstance(value, tuple) and not any(isinstance(part, str) for part in value if numbers(wanted))
    kinds = (int, float) if isinstance(wanted, float) else type(wanted)
    return isinstance(value, kinds) and isinstance(value, bool) == isinstance(wanted, bool)


def numbers(wanted: tuple[Any, ...]) -> bool:
    """Whether a tuple holds numbers."""
    return bool(wanted) and not isinstance(wanted[0], str)


def read_toml(path: Path) -> dict[str, Any]:
    """The settings in a TOML file, its keys named as the flags or as the fields.

    Raises:
        SecateurError: the file is missing or is no TOML.
    """
    try:
        return {k.replace("-", "_"): v for k, v in tomllib.loads(path.read_text(encoding="utf-8")).items()}
    except OSError as error:
        raise SecateurError(f"config '{path}': {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SecateurError(f"config '{path}' is not TOML: {error}") from error


def coerce(name: str, value: Any, like: Any) -> Any:
    """A value from text or TOML in the type of a default: ``"0,0.5"`` for a tuple of floats.

    >>> coerce("sparsity", "0, 0.5", (0.0,))
    (0.0, 0.5)
    """
    if isinstance(like, tuple):
        parts = [p.strip() for p in value.split(",") if p.strip()] if isinstance(value, str) else value
        parts = list(parts) if isinstance(parts, (list, tuple)) else [parts]
        example = {"sparsity": 0.0, "latency_batches": 0}.get(name, "")
        return tuple(coerce(name, part, example) for part in parts)
    if name == "layers" and isinstance(value, dict):
        value = json.dumps(value, sort_keys=True)
    if isinstance(like, bool):
        if not isinstance(value, bool):
            raise SecateurError(f"{name} {value!r}: allowed are true and false")
        return value
    kind = type(like)
    wrong = isinstance(value, (bool, list, tuple, dict)) or (kind is str and not isinstance(value, str))
    try:
        result = kind(value)
    except (TypeError, ValueError, OverflowError):
        wrong, result = True, value
    if wrong or (kind is int and float(value) != result):
        words = {int: "a whole number", float: "a number", str: "text"}[cast(type, kind)]
        raise SecateurError(f"{name.replace('_', '-')} '{value}': allowed is {words}")
    return result
