"""A Keras 3 model in a file, or from a factory."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from secateur.core.errors import failing
from secateur.core.network_options import Options
from secateur.models.loaders._keras import keras, keras_source, layers_of
from secateur.models.loaders.base import Kind, Source, refuse


class Keras(Kind):
    """``FILE.keras``, read in Keras' safe mode on its torch backend. Its kernels become weights of torch's layers,
    ``(out, in)`` and ``(out, in, height, width)``, and are cut like those of any network of torch."""

    form = "FILE.keras"
    suffix = ".keras"

    def recognises(self, text: str) -> bool:
        """Whether it ends so."""
        return text.endswith(".keras")

    def load(self, text: str, options: Options) -> Source:
        """The network of the file."""
        refuse(options, f"'{text}'", "weights", "factory")
        self.check(text)
        return keras_source(partial(_open_model, Path(text).expanduser()), f"lambda: secateur.models.network('{text}')")

    def write(self, network: nn.Module, text: str, path: Path) -> None:
        """Write the first file again, with the cut weights."""
        model = _open_model(Path(text).expanduser())
        _, origins = layers_of(model)
        _put_back(model, network, origins)
        model.save(path)


def _open_model(path: Path) -> Any:
    """The model of a file.

    Raises:
        SecateurError: it is damaged, or holds code (a Lambda layer).
    """
    library = keras()
    with failing(f"Keras cannot read '{path}'", "code in a file is not run: safe mode"):
        return library.saving.load_model(path, compile=False, safe_mode=True)


def _put_back(model: Any, network: nn.Module, origins: Any) -> None:
    """Write the tensors of a network of torch's layers back into the Keras model that it was made from."""
    variables = {v.path: v for v in model.variables}
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name in origins and origins[name].name in variables:
                variables[origins[name].name].assign(origins[name].back(tensor))
