"""Trained weights in a file, and the function that builds their network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from secateur import files
from secateur.core.errors import SecateurError
from secateur.core.network_options import Options
from secateur.models.factory import load_weights
from secateur.models.loaders.base import Kind, Source, refuse
from secateur.models.loaders.built_in import source_of


class Safetensors(Kind):
    """``FILE.safetensors`` with ``--factory``: plain weights (a ``state_dict``), or what secateur wrote."""

    form = "FILE.safetensors with --factory pkg.module:factory"

    def recognises(self, text: str) -> bool:
        """Whether it ends so."""
        return text.endswith(".safetensors")

    def load(self, text: str, options: Options) -> Source:
        """The network of the factory with the weights of the file."""
        refuse(options, f"'{text}'", "weights")
        if not options.factory:
            raise SecateurError(f"'{text}' holds only weights: name the network that they belong to with --factory "
                                "pkg.module:factory or a built-in name")
        bare = source_of(options.factory, options)
        return replace(bare, make=partial(_load, bare.make, Path(text).expanduser()), original=bare.make)


def _load(make: Callable[[], nn.Module], path: Path) -> nn.Module:
    """The network that a function makes, with the weights of a file of secateur's or of others."""
    return files.load(path, make) if files.is_ours(path) else load_weights(make(), path)
