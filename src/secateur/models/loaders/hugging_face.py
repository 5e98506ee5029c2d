"""A folder that Hugging Face's libraries wrote."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from secateur.core.errors import MissingExtraError, SecateurError, failing, first_line
from secateur.models.loaders._dummy_inputs import find_inputs
from secateur.models.loaders.base import Kind, Options, Source, refuse

_LONGEST = 128
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
        made, told = open_folder(folder)
        encode, notes = encoder(folder), differences(told)
        example, random = (encode(_SENTENCES), "") if encode else find_inputs(made)
        return Source(partial(network, folder), f"lambda: secateur.models.network('{text}')", example, encode, notes,
                      drawn=random)

    def write(self, network: nn.Module, text: str, path: Path) -> None:
        """A folder that ``from_pretrained`` reads, with the tokenizer and what else the first one holds beside."""
        path.mkdir()
        source = Path(text).expanduser()
        for pattern in _KEPT:
            for file in source.glob(pattern):
                (path / file.relative_to(source)).parent.mkdir(exist_ok=True)
                shutil.copy2(file, path / file.relative_to(source))
        with still():
            network.save_pretrained(path)  # type: ignore[operator]


def transformers() -> Any:
    """The library.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise MissingExtraError("transformers", "transformers", "a Hugging Face folder") from error


@contextmanager
def still() -> Iterator[None]:
    """No progress bars and no reports of the library, for the length of a block."""
    told = transformers().logging
    before, level = told.is_progress_bar_enabled(), told.get_verbosity()
    told.disable_progress_bar()
    told.set_verbosity_error()
    try:
        yield
    finally:
        told.set_verbosity(level)
        if before:
            told.enable_progress_bar()


def _check_folder(folder: Path) -> dict[str, Any]:
    """The configuration of a folder, refused where it could only be read by running code of it."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SecateurError(f"'{folder / 'config.json'}' is no JSON: {first_line(error)}") from error
    if not list(folder.glob("*.safetensors")):
        pickles = [f.name for f in folder.glob("*.bin")]
        why = (f", only {pickles[0]}, a pickle, which could run anything and is not read: convert it where you trust "
               "it, with model.save_pretrained(folder)" if pickles else "; needed: model.safetensors")
        raise SecateurError(f"folder '{folder}' has no weights in safetensors{why}")
    names = config.get("architectures") or []
    if "auto_map" in config and not (names and hasattr(transformers(), names[0])):
        raise SecateurError(f"folder '{folder}' brings code of its own (auto_map), which is not run; allowed are "
                            "classes of transformers, or a factory of yours")
    if not names or not hasattr(transformers(), str(names[0])):
        raise SecateurError(f"folder '{folder}': architectures {names} in its config.json; needed is the name of a "
                            "class of transformers, such as BertModel")
    return config


def network(folder: Path) -> nn.Module:
    """The network of a folder."""
    return open_folder(folder)[0]


def open_folder(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a folder, and which tensors the class has that the folder has not, and the other way round."""
    name = _check_folder(folder)["architectures"][0]
    with still(), failing(f"transformers cannot read folder '{folder}'"):
        made, told = getattr(transformers(), name).from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, output_loading_info=True,
            ignore_mismatched_sizes=True)
    if not isinstance(made, nn.Module):
        raise SecateurError(f"folder '{folder}': {name} is no torch.nn.Module")
    if other := sorted(told.get("mismatched_keys") or ()):
        raise SecateurError(f"folder '{folder}': {len(other)} tensors have other shapes than its config.json says: "
                            + "; ".join(" ".join(map(str, one)) for one in other[:3]) + "; …" * (len(other) > 3))
    return made.eval(), told


def differences(told: dict[str, Any]) -> tuple[str, ...]:
    """What transformers drew at random, and what it left out, where class and folder differ."""
    words = {"missing_keys": "drawn at random, as the folder has them not", "unexpected_keys": "left out, as the class "
             "has them not", "mismatched_keys": "drawn at random, as their shapes differ"}
    return tuple(f"{len(told[key])} tensors are {what}: {', '.join(sorted(map(str, told[key]))[:3])}"
                 for key, what in words.items() if told.get(key))


def encoder(folder: Path) -> Any:
    """What turns sentences into inputs, padded to the longest and cut at 128 tokens; None without a tokenizer."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt")):
        return None
    with failing(f"transformers cannot read the tokenizer of folder '{folder}'"):
        tokenizer = transformers().AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)

    def encode(sentences: list[str]) -> dict[str, Any]:
        with failing(f"the tokenizer of folder '{folder}' failed"):
            return dict(tokenizer(sentences, padding=True, truncation=True, max_length=_LONGEST, return_tensors="pt"))

    return encode
