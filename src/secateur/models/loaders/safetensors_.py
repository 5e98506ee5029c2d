"""Trained weights in a file, and the function that makes their network."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from torch import nn

from secateur import files, models
from secateur.core.errors import SecateurError
from secateur.models.loaders.base import Kind, Options, Source, refuse
from secateur.models.loaders.built_in import CLASSES, SHAPE


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
            raise SecateurError(f"'{text}' holds weights, which need the network that they belong to: give --factory "
                                "pkg.module:factory or a built-in name")
        make = partial(models.make_network, options.factory, options.shape or SHAPE, options.classes or CLASSES)
        again = options.factory.replace(":", ".") if ":" in options.factory else (
            f"lambda: secateur.models.resolve('{options.factory}', {options.shape or SHAPE}, "
            f"{options.classes or CLASSES})")
        return Source(partial(load_network, make, Path(text).expanduser()), again, original=make)


def load_network(make: object, path: Path) -> nn.Module:
    """The network that a function makes, with the weights of a file of secateur's or of others."""
    if files.is_ours(path):
        return files.load(path, make)  # type: ignore[arg-type]
    return models.load_weights(make(), path)  # type: ignore[operator]
