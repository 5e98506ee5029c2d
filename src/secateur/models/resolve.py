"""Any network a user already has: one file a kind, see ``base.py`` for the contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from secateur import files
from secateur.core import names, registry
from secateur.core.errors import SecateurError
from secateur.core.network_options import Options
from secateur.files.native import strict
from secateur.models.example_inputs import example_from
from secateur.models.factory import example_of
from secateur.models.loaders.base import Kind, Source


def kinds() -> list[Kind]:
    """Every kind of network."""
    return [registry.get("loaders", name)() for name in registry.files("loaders")]


def kind_of(text: str) -> Kind:
    """The kind of network that a text names.

    Raises:
        SecateurError: the text names none; the message says what is allowed, and the nearest name.

    >>> kind_of("mlp").form, kind_of("net.pt2").form
    ('a built-in name', 'FILE.pt2')
    """
    found = next((kind for kind in kinds() if kind.recognises(text)), None)
    if found is None:
        raise SecateurError(names.why_no_network(text))
    return found


def find(text: str, options: Options | None = None) -> Source:
    """The network that a text names.

    Raises:
        SecateurError: nothing is named so, or it cannot be read.
        ImportError: a package that reads it is not installed.
    """
    given = options or Options()
    source = kind_of(text).load(text, given)
    return replace(source, example=example_of(given.example), drawn="") if given.example else source


def network(text: str, trusted: bool = False, **options: str) -> nn.Module:
    """Build the original network of a name that ``secateur prune`` accepts, as ``secateur.load`` needs it.

    Args:
        text: any of the kinds that ``secateur list`` shows.
        trusted: whether you know who made the file, where it is a program (``.pt2``).
        options: fields of :class:`Options`, such as ``factory="pkg.module:make"``.

    Raises:
        SecateurError: nothing is named so, or it cannot be read.

    >>> type(network("lenet-300-100")).__name__
    'Lenet300100'
    """
    return find(text, Options(trust=trusted, **options)).make()  # type: ignore[arg-type]


def file_named(text: str) -> Path | None:
    """The path of the file of secateur's that a text names; None where it names a network that can be found.

    Raises:
        SecateurError: it names neither, or the file is damaged.
    """
    path = Path(text).expanduser()
    if files.is_ours(path):
        return path
    names.check_read(text, names.allowed_networks(names.OURS))
    weights = path.suffix == ".safetensors"
    is_pickle = path.suffix in names.PICKLES
    if path.is_file() and not is_pickle and (weights or not any(k.recognises(text) for k in kinds())):
        try:
            files.tell(path)
        except SecateurError as error:
            hint = "; for plain weights, name their network too: MODEL --weights FILE" if weights else ""
            raise SecateurError(f"{error}{hint}") from error
    if weights:
        raise SecateurError(f"'{text}': there is no such file")
    kind_of(text)
    return None


def cut_file(path: Path, model: str, options: Options) -> Source:
    """The network of a file that secateur wrote; ``original`` is the one before the cut, where ``model`` names it.

    Raises:
        SecateurError: the file cannot be read, or holds no graph and ``model`` is empty.
    """
    facts = files.tell(path)
    if not model:
        if facts.runnable:
            trusted = ", trusted=True" if options.trust else ""
            return Source(partial(files.load, path, trusted=options.trust), f"secateur.load('{path}'{trusted})")
        told = facts.settings.get("settings")
        was = f"{strict.short(told.get('model'))} (as the file says)" if isinstance(told, dict) else (
            "pkg.module:factory or a built-in name")
        raise SecateurError(f"'{path}' holds tensors but no graph to run: name its original network with --factory "
                            f"{was}")
    source = find(model, options)
    original = source.original or source.make
    given = example_of(options.example) if options.example else None
    if source.example is None and facts.runnable:
        source = replace(source, example=example_from(files.load(path, trusted=options.trust)))
    return replace(source, make=partial(_load, path, original, given, model), original=original)


def _load(path: Path, original: Callable[[], nn.Module], given: Any, model: str) -> nn.Module:
    """The network of a file, made from the one before the cut; of a built-in one an error names the flags of shapes."""
    try:
        return files.load(path, original, given).eval()
    except SecateurError as error:
        if model in registry.files("models"):
            raise SecateurError(f"{error}; set its input shape and number of classes with --shape and "
                                "--classes") from error
        raise
