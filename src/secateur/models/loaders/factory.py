"""A network that a function of the user's makes."""

from __future__ import annotations

from functools import partial

from secateur.core import registry
from secateur.models.loaders._keras import is_keras, native
from secateur.models.loaders.base import Kind, Options, Source, refuse
from secateur.models.loaders.built_in import CLASSES, SHAPE, load_network


class Factory(Kind):
    """``pkg.module:factory``, called without arguments, or with the shape and classes of the data where it asks for
    them. A Keras model on its torch backend becomes a network of torch's layers."""

    form = "pkg.module:factory"
    fits = True

    def recognises(self, text: str) -> bool:
        """Whether it is an import path."""
        return ":" in text and not text.startswith("timm:")

    def check(self, text: str) -> None:
        """Refuse a path that cannot be imported."""
        registry.import_path(text, "model")

    def load(self, text: str, options: Options) -> Source:
        """The network, with weights where a file is given."""
        refuse(options, f"the factory '{text}'", "factory")
        make = partial(load_network, text, options.shape or SHAPE, options.classes or CLASSES, options.weights)
        if is_keras(make()):
            return native(make, f"lambda: secateur.models.network('{text}')")
        return Source(make, text.replace(":", "."))
