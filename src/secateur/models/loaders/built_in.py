"""A built-in network."""

from __future__ import annotations

from functools import partial

from torch import nn

from secateur.core import registry
from secateur.core.network_options import Options
from secateur.models import factory
from secateur.models.loaders.base import Kind, Source, refuse


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
        return source_of(text, options)


def source_of(spec: str, options: Options) -> Source:
    """The network of a built-in name or an import path, for the samples of MNIST where nothing else is asked for."""
    shape, classes = options.shape or (1, 28, 28), options.classes or 10
    again = spec.replace(":", ".") if ":" in spec else f"lambda: secateur.models.build('{spec}', {shape}, {classes})"
    return Source(partial(_make, spec, shape, classes, options.weights), again)


def _make(spec: str, shape: tuple[int, ...], classes: int, weights: str) -> nn.Module:
    network = factory.make_network(spec, shape, classes)
    return factory.load_weights(network, weights) if weights else network
