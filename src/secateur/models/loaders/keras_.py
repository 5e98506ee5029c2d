"""A Keras 3 model in a file, or from a factory."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from secateur.core.errors import SecateurError, failing
from secateur.models.loaders._keras import keras, layers_of, native
from secateur.models.loaders.base import Kind, Options, Source, refuse


class Keras(Kind):
    """``FILE.keras``, read in Keras' safe mode on its torch backend. Its kernels become weights of torch's layers,
    ``(out, in)`` and ``(out, in, height, width)``, so that all that is done to torch's networks is done to them."""

    form = "FILE.keras"
    suffix = ".keras"

    def recognises(self, text: str) -> bool:
        """Whether it ends so."""
        return text.endswith(".keras")

    def load(self, text: str, options: Options) -> Source:
        """The network of the file."""
        refuse(options, f"'{text}'", "weights", "factory")
        return native(partial(_open_model, Path(text).expanduser()), f"lambda: secateur.models.network('{text}')")

    def write(self, network: nn.Module, text: str, path: Path) -> None:
        """A Keras file: the first one with the cut weights."""
        model = _open_model(Path(text).expanduser())
        _, origins = layers_of(model)
        _put_back(model, network, origins)
        model.save(path)


def _open_model(path: Path) -> Any:
    """The model of a file.

    Raises:
        SecateurError: it is missing, damaged, or holds code (a Lambda layer).
    """
    if not path.is_file():
        raise SecateurError(f"cannot read '{path}': there is no such file")
    library = keras()
    with failing(f"Keras cannot read '{path}'", "code in a file is not run: safe mode"):
        return library.saving.load_model(path, compile=False, safe_mode=True)


def _put_back(model: Any, network: nn.Module, origins: Any) -> None:
    """Give a Keras model the tensors of its network of torch's layers."""
    variables = {v.path: v for v in model.variables}
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name in origins and origins[name].name in variables:
                variables[origins[name].name].assign(origins[name].back(tensor))
