"""A network that your own function builds."""

from __future__ import annotations

from secateur.core import registry
from secateur.core.network_options import Options
from secateur.models.loaders._keras import is_keras, keras_source
from secateur.models.loaders.base import Kind, Source, refuse
from secateur.models.loaders.built_in import source_of


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
        source = source_of(text, options)
        if is_keras(source.make()):
            return keras_source(source.make, f"lambda: secateur.models.network('{text}')")
        return source
