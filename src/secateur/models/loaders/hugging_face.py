"""A folder that save_pretrained of Hugging Face wrote."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import nn

from secateur.core.errors import MissingExtraError, SecateurError, failing, first_line
from secateur.core.network_options import Options
from secateur.files.native import strict
from secateur.files.native.header import Header, open_file, read_header
from secateur.models.loaders._dummy_inputs import find_inputs
from secateur.models.loaders.base import Kind, Source, refuse

_LONGEST = 128
_LAYERS, _FREE = 1000, 1 << 25
"""Layers and parameters that a configuration may ask for whatever the folder holds."""
_DEPTHS = re.compile("layers|blocks|depth|experts|n_layer")
_SENTENCES = ["A sentence of some words.", "Another one."]
_KEPT = ("*.json", "*.txt", "*.model", "*/config.json", "README.md", "LICENSE*")


class HuggingFace(Kind):
    """A folder with ``config.json`` and weights in safetensors, read by transformers from the disk alone: no code of
    the folder is run, no pickle is read, nothing is fetched. Its class is the one that the folder names."""

    form = "a Hugging Face folder"
    folder = True

    def recognises(self, text: str) -> bool:
        """Whether it is a folder with a configuration."""
        return (Path(text).expanduser() / "config.json").is_file()

    def load(self, text: str, options: Options) -> Source:
        """The network with an example: what the tokenizer makes of two sentences where the folder has one, else what is
        drawn at random."""
        refuse(options, f"the folder '{text}'", "weights", "factory")
        folder = Path(text).expanduser()
        _check_folder(folder)
        made, info = _open_folder(folder)
        encode, notes = _encoder(folder), _differences(info)
        example, random = (encode(_SENTENCES), "") if encode else find_inputs(made)
        return Source(partial(network, folder), f"lambda: secateur.models.network('{text}')", example, encode, notes,
                      drawn=random)

    def write(self, network: nn.Module, text: str, path: Path) -> None:
        """Write a folder that ``from_pretrained`` reads, with the tokenizer and other texts of the first one."""
        path.mkdir()
        source = Path(text).expanduser()
        for pattern in _KEPT:
            for file in source.glob(pattern):
                (path / file.relative_to(source)).parent.mkdir(exist_ok=True)
                shutil.copy2(file, path / file.relative_to(source))
        with _silence():
            network.save_pretrained(path)  # type: ignore[operator]


def _transformers() -> Any:
    """The library.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise MissingExtraError("transformers", "transformers", "a Hugging Face folder") from error


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps the library from printing progress bars and reports in the block."""
    logging = _transformers().logging
    before, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if before:
            logging.enable_progress_bar()


def _check_folder(folder: Path) -> dict[str, Any]:
    """The configuration of a folder; one that only code in the folder could read is refused."""
    config = _read_config(folder / "config.json")
    if not list(folder.glob("*.safetensors")):
        pickles = [f.name for f in folder.glob("*.bin")]
        why = (f", only {pickles[0]}, a pickle, which can run any code and is not read; if you trust it, convert it "
               "with model.save_pretrained(folder)" if pickles else "; needed: model.safetensors")
        raise SecateurError(f"folder '{folder}' has no weights in safetensors{why}")
    names = config.get("architectures") or []
    known = isinstance(names, list) and bool(names) and _class_named(names[0]) is not None
    if "auto_map" in config and not known:
        raise SecateurError(f"folder '{folder}' contains code of its own (auto_map), which is not run; allowed are "
                            "classes of transformers, or a factory of your own")
    if not known:
        raise SecateurError(f"folder '{folder}': architectures {strict.short(names)} in its config.json; expected the "
                            "name of a class of transformers, such as BertModel")
    return config


def _read_config(path: Path) -> dict[str, Any]:
    """A configuration, an object.

    Raises:
        SecateurError: it is missing, no JSON, or anything else.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SecateurError(f"'{path}' is not valid JSON: {first_line(error)}") from error
    return strict.typed(config, dict, f"'{path}'")


def _class_named(name: Any) -> Any:
    """The class of networks that transformers has under a name; None where it has none."""
    found = getattr(_transformers(), name, None) if isinstance(name, str) else None
    return found if isinstance(found, type) and issubclass(found, nn.Module) else None


def _check_size(folder: Path, config: dict[str, Any], made: Any) -> None:
    """Refuse a configuration of a far larger network than the folder has weights for: the rest would be drawn at
    random, in whatever memory and time the configuration asks for.

    Raises:
        SecateurError: it has more layers or parameters than that.
    """
    held: list[Header] = []
    for path in folder.glob("*.safetensors"):
        with open_file(path) as file:
            held.append(read_header(file, path))
    tensors = sum(len(one.entries) for one in held)
    deep = [f"{key} {value}" for part in _parts(config) for key, value in part.items()
            if _DEPTHS.search(key) and type(value) is int and value > max(_LAYERS, tensors)]
    stored = sum(prod(entry.shape) for one in held for entry in one.entries.values())
    most = _FREE + 2 * stored
    if not deep:
        with torch.device("meta"):
            count = sum(p.numel() for p in made(made.config_class.from_pretrained(folder)).parameters())
        deep = [f"{count} parameters"] if count > most else []
    if deep:
        raise SecateurError(f"folder '{folder}': its config.json asks for {', '.join(deep)}; allowed for its weights, "
                            f"{tensors} tensors of {stored} values, are {max(_LAYERS, tensors)} layers and {most} "
                            "parameters")


def _parts(config: dict[str, Any]) -> list[dict[str, Any]]:
    """A configuration and those within it."""
    return [config, *(more for one in config.values() if isinstance(one, dict) for more in _parts(one))]


def network(folder: Path) -> nn.Module:
    """The network of a folder."""
    return _open_folder(folder)[0]


def _open_folder(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a folder, and transformers' record of tensors that only the class or only the folder has."""
    config = _check_folder(folder)
    name = config["architectures"][0]
    with _silence(), failing(f"transformers cannot read folder '{folder}'"):
        _check_size(folder, config, _class_named(name))
        made, info = _class_named(name).from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, output_loading_info=True,
            ignore_mismatched_sizes=True)  # so that all tensors that differ are named below, not the first alone
    if not isinstance(made, nn.Module):
        raise SecateurError(f"folder '{folder}': {name} is not a torch.nn.Module")
    if other := sorted(info.get("mismatched_keys") or ()):
        raise SecateurError(f"folder '{folder}': {len(other)} tensors do not have the shapes that config.json states: "
                            + "; ".join(" ".join(map(str, one)) for one in other[:3]) + "; …" * (len(other) > 3))
    return made.eval(), info


def _differences(info: dict[str, Any]) -> tuple[str, ...]:
    """What transformers drew at random, and what it left out, where class and folder differ."""
    words = {"missing_keys": "missing from the folder and were drawn at random",
             "unexpected_keys": "unknown to the network's class and were left out"}
    return tuple(f"{len(info[key])} tensors are {what}: {', '.join(sorted(map(str, info[key]))[:3])}"
                 for key, what in words.items() if info.get(key))


def _encoder(folder: Path) -> Any:
    """A function from sentences to inputs, padded to the longest and cut at 128 tokens; None without a tokenizer."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt")):
        return None
    with failing(f"transformers cannot read the tokenizer of folder '{folder}'"):
        tokenizers = _transformers().AutoTokenizer
        tokenizer = tokenizers.from_pretrained(folder, local_files_only=True, trust_remote_code=False)

    def encode(sentences: list[str]) -> dict[str, Any]:
        with failing(f"the tokenizer of folder '{folder}' failed"):
            return dict(tokenizer(sentences, padding=True, truncation=True, max_length=_LONGEST, return_tensors="pt"))

    return encode
