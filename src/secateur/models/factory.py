"""From a name or an import path to a network that fits its data, and weights from a file."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from secateur import files
from secateur.core import registry
from secateur.core.errors import SecateurError, failing, first_line
from secateur.core.modules import device_of, same_modes

_KNOWN = ("shape", "classes", "num_classes")


def build(spec: str, shape: tuple[int, ...] = (1, 28, 28), classes: int = 10,
            dtype: torch.dtype = torch.float32) -> nn.Module:
    """Build the network of a name or ``pkg.module:factory``, which gets shape, classes, num_classes if it needs them.

    Args:
        spec: the name or the import path.
        shape: of one sample.
        classes: how many logits it must give.
        dtype: of the samples.

    Raises:
        SecateurError: an unknown name, a factory that fails or returns no module, or a network that does
            not take the samples or gives another number of logits.

    >>> type(build("lenet-300-100")).__name__
    'Lenet300100'
    """
    model = make_network(spec, shape, classes)
    check_fits(model, shape, classes, dtype, f"model '{spec}'")
    return model


def make_network(spec: str, shape: tuple[int, ...], classes: int) -> nn.Module:
    """Build the network of a name or import path, with any inputs and outputs.

    Raises:
        SecateurError: an unknown name, or a factory that fails or returns no module.
    """
    if ":" in spec:
        return _call(spec, dict(zip(_KNOWN, (tuple(shape), classes, classes), strict=True)))
    return registry.get("models", spec)(tuple(shape), classes)  # type: ignore[no-any-return]


def example_of(spec: str) -> Any:
    """The example behind ``pkg.module:name``: one input, a tuple, a dict, a list of such, or a function that makes it.

    Raises:
        SecateurError: it cannot be imported, or the function fails.
    """
    found = registry.import_path(spec, "example")
    with failing(f"example '{spec}' failed"):
        return found() if callable(found) and not isinstance(found, Tensor) else found


def check_fits(model: nn.Module, shape: tuple[int, ...], classes: int, dtype: torch.dtype = torch.float32,
               what: str = "the network") -> None:
    """Raise an error if a network does not accept two samples of a shape or return ``classes`` logits for each.

    >>> check_fits(nn.Linear(4, 3), (4,), 2)
    Traceback (most recent call last):
    secateur.core.errors.SecateurError: the network gives outputs of shape (2, 3) for 2 samples; needed: 2 logits each
    """
    try:
        outputs = _outputs(model, torch.zeros(2, *shape, dtype=dtype))
    except Exception as error:
        raise SecateurError(f"{what} does not take samples of shape {tuple(shape)}: {first_line(error)}") from error
    if not isinstance(outputs, Tensor):
        raise SecateurError(f"{what} returns {type(outputs).__name__}; needed: one tensor of logits (samples, "
                            f"{classes})")
    if outputs.shape != (2, classes):
        raise SecateurError(f"{what} returns outputs of shape {tuple(outputs.shape)} for 2 samples; "
                            f"needed: {classes} logits each")


def load_weights(model: nn.Module, path: str | Path) -> nn.Module:
    """Load the tensors of a safetensors file into a network in place, and return the network.

    The file holds plain weights, or is one that :func:`secateur.save` wrote of a network of these shapes.

    Raises:
        SecateurError: the file is missing or damaged, holds NaN or infinite values, or does not match the
            network; every tensor that differs is named.
    """
    path = Path(path).expanduser()
    tensors = _read(path)
    own = model.state_dict()
    if codes := [name for name in sorted(tensors.keys() - own.keys()) if name.split(".")[-1] == "codes"]:
        raise SecateurError(f"weights '{path}' are of a network that is quantised already ('{codes[0]}'); allowed are "
                            "those of a network in float32: prune and quantise that one")
    if differ := [d for name in sorted(own.keys() | tensors.keys()) if (d := _difference(name, own, tensors))]:
        raise SecateurError(f"weights '{path}' do not fit the network, {len(differ)} tensors differ: "
                            + "; ".join(differ))
    if bad := [n for n, t in sorted(tensors.items()) if t.is_floating_point() and not torch.isfinite(t).all()]:
        raise SecateurError(f"weights '{path}' hold NaN or infinite values in {', '.join(bad)}")
    model.load_state_dict(tensors)
    return model


def _call(spec: str, known: dict[str, Any]) -> nn.Module:
    factory = registry.import_path(spec, "model")
    if not callable(factory) or isinstance(factory, nn.Module):
        raise SecateurError(f"model '{spec}': it is {type(factory).__name__}; allowed: a function or class that makes "
                            "the network, called without arguments")
    needed = _required_arguments(factory)
    if unknown := [name for name in needed if name not in known]:
        raise SecateurError(f"model '{spec}' needs {', '.join(unknown)}: a factory is called without arguments, "
                            f"or with those of {', '.join(known)} that have no default (--shape, --classes)")
    with failing(f"model '{spec}' failed"):
        model = factory(**{name: known[name] for name in needed})
    if not isinstance(model, nn.Module):
        raise SecateurError(f"model '{spec}' returns {type(model).__name__}; needed: a torch.nn.Module")
    return model


def _required_arguments(factory: Any) -> list[str]:
    """The arguments that a factory cannot do without."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:
        return []
    return [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _outputs(model: nn.Module, inputs: Tensor) -> object:
    """The outputs in eval mode; every module's mode stays as it was."""
    with same_modes(model), torch.no_grad():
        return model.eval()(inputs.to(device_of(model)))


def _read(path: Path) -> dict[str, Tensor]:
    if files.is_ours(path):
        return files.tensors_of(path)
    try:
        return load_file(path)
    except OSError as error:
        raise SecateurError(f"weights '{path}' cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise SecateurError(f"weights '{path}' are not a valid safetensors file: {first_line(error)}") from error


def _difference(name: str, own: dict[str, Tensor], given: dict[str, Tensor]) -> str:
    if name not in given:
        return f"{name} is missing from the file"
    if name not in own:
        return f"{name} is not in the network"
    if own[name].shape != given[name].shape:
        return f"{name} is {tuple(given[name].shape)} in the file, {tuple(own[name].shape)} in the network"
    return ""
