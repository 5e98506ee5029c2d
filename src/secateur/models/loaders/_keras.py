"""A Keras 3 model on its torch backend as a network of torch's layers, and back."""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from secateur.core.errors import MissingExtraError, SecateurError, UnsupportedError
from secateur.data.input_spec import InputSpec, TensorSpec
from secateur.graph.capture import export
from secateur.graph.targets import targets
from secateur.models.loaders._rebuild_layers import Layered, rebuild_layers
from secateur.models.loaders._stored_tensors import Origins
from secateur.models.loaders.base import Source

_OLDEST = (3, 12)


def is_keras(model: object) -> bool:
    """Whether an object is a Keras model."""
    return any(c.__module__.partition(".")[0] == "keras" for c in type(model).__mro__)


def keras() -> Any:
    """The library on its torch backend. The backend can be chosen only before Keras is imported for the first time.

    Raises:
        MissingExtraError: it is not installed.
        SecateurError: it runs on another backend, or is a version that can be made to run code of a file.
    """
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "torch"
    try:
        found = importlib.import_module("keras")
    except ImportError as error:
        raise MissingExtraError("keras", "keras", "a Keras model") from error
    if found.backend.backend() != "torch":
        raise SecateurError(f"Keras runs on backend '{found.backend.backend()}'; expected torch: set "
                            "KERAS_BACKEND=torch before Keras is imported")
    if tuple(int(n) for n in found.__version__.split(".")[:2]) < _OLDEST:
        raise SecateurError(f"Keras {found.__version__} can be made to run code from a file; expected 3.12 or newer: "
                            "pip install -U 'keras>=3.12'")
    return found


def keras_source(make: Callable[[], Any], again: str) -> Source:
    """The source of a Keras model: its graph as a network of torch's layers, for any batch."""
    keras()
    return Source(partial(_convert, make), again, example_of(make()), drawn="2 samples of the model's inputs")


def _convert(make: Callable[[], Any]) -> nn.Module:
    """A Keras model as a network of torch's layers."""
    return layers_of(make())[0]


class _KerasCall(nn.Module):
    """A Keras model that takes its inputs one by one, in inference: dropout drops nothing."""

    def __init__(self, model: Any):
        super().__init__()
        self.__dict__["model"] = model

    def forward(self, *inputs: Tensor) -> Any:
        """The outputs of the model."""
        return self.__dict__["model"](list(inputs) if len(inputs) > 1 else inputs[0], training=False)


def layers_of(model: Any) -> tuple[Layered, Origins]:
    """A Keras model as a network of torch's layers, and where their tensors come from: the paths of its variables.

    Raises:
        UnsupportedError: ``torch.export`` cannot take it, or weights of a layer were not found in its graph.
    """
    example = example_of(model)
    program = export(_KerasCall(model), example, {}, "batch", f"the Keras model '{model.name}'")
    variables = {v.value.data_ptr(): v.path for v in model.variables if v.value.numel()}
    stored = {**program.state_dict, **program.constants}
    paths = {n: variables[t.data_ptr()] for n, t in stored.items()
             if isinstance(t, Tensor) and t.data_ptr() in variables}
    network, origins = rebuild_layers(program, {n: _tensor_name(path) for n, path in paths.items()})
    _check_kernels(model, network)
    _check_batches(model, program, example)
    return network, {new: replace(o, name=paths.get(o.name, "")) for new, o in origins.items()}


def _check_batches(model: Any, program: torch.export.ExportedProgram, example: tuple[Tensor, ...]) -> None:
    """Refuse a graph that takes no other batch than the example's: Keras 3.12, the last for Python 3.10, fixes it."""
    try:
        with torch.no_grad():
            program.module()(*(torch.cat([x, x[:1]]) for x in example))
    except (RuntimeError, AssertionError) as error:
        raise UnsupportedError(f"Keras {keras().__version__} cannot export the Keras model '{model.name}' with an open "
                               "batch size; expected a newer Keras (Python 3.11)") from error


def _tensor_name(path: str) -> str:
    """The name of a variable's tensor: its path without the model's, and torch's names for what torch's layers hold.

    >>> _tensor_name("sequential/dense/kernel"), _tensor_name("dense/bias")
    ('dense.kernel', 'dense.bias')
    """
    parts = [p.replace(".", "_") for p in path.split("/")]
    return ".".join(parts[1:] if len(parts) > 2 else parts)


def _check_kernels(model: Any, network: nn.Module) -> None:
    """Refuse a model if some of its kernels did not become layers: they would be left out without a word."""
    wanted = {v.path: v.value.numel() for v in model.variables if v.path.endswith("kernel")}
    found = sum(math.prod(target.shape) for target in targets(network))
    if found < sum(wanted.values()):
        raise UnsupportedError(f"the Keras model '{model.name}' has {sum(wanted.values())} weights in kernels, of "
                               f"which {found} are in layers that can be cut (Dense, Conv, DepthwiseConv); the others "
                               "would be skipped: allowed are models with only such layers")


def example_of(model: Any) -> tuple[Tensor, ...]:
    """Two random samples of a Keras model's inputs.

    Raises:
        UnsupportedError: the model does not know its inputs, or axes of them besides the batch are open.
    """
    inputs = getattr(model, "inputs", None)
    if not inputs:
        raise UnsupportedError(f"the Keras model '{model.name}' has no defined inputs; allowed are Sequential and "
                               "functional models with keras.Input")
    if opened := next((i for i in inputs if None in i.shape[1:]), None):
        raise UnsupportedError(f"input {tuple(opened.shape)} of the Keras model '{model.name}': axes besides the batch "
                               "must have a fixed size")
    samples = (TensorSpec((2, *i.shape[1:]), torch.float32 if "float" in str(i.dtype) else torch.long) for i in inputs)
    example: tuple[Tensor, ...] = InputSpec(tuple(samples)).random()
    return example
