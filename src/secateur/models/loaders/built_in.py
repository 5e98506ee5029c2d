"""A network of the built-in studies."""

from __future__ import annotations

from functools import partial

from torch import nn

from secateur import models
from secateur.core import registry
from secateur.models.loaders.base import Kind, Options, Source, refuse

SHAPE, CLASSES = (1, 28, 28), 10


class BuiltIn(Kind):
    """``mlp``, ``lenet5`` …: a network of :mod:`secateur.models`, for the shape and classes of the data."""

    form = "a built-in name"
    fits = True

    def recognises(self, text: str) -> bool:
        """Whether it is the name of a file of ``models/``."""
        return text in registry.files("models")

    def load(self, text: str, options: Options) -> Source:
        """The network, with weights where a file is given."""
        refuse(options, f"the built-in network '{text}'", "factory")
        shape, classes = options.shape or SHAPE, options.classes or CLASSES
        return Source(partial(load_network, text, shape, classes, options.weights),
                      f"lambda: secateur.models.resolve('{text}', {shape}, {classes})")


def load_network(name: str, shape: tuple[int, ...], classes: int, weights: str) -> nn.Module:
    """A network of a name or an import path, with weights where a file is given."""
    network = models.make_network(name, shape, classes)
    return models.load_weights(network, weights) if weights else network
