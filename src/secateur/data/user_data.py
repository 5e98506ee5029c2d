"""A user's own data: a function behind an import path, or an ``.npz`` file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from secateur.core import registry
from secateur.core.errors import SecateurError, failing, first_line
from secateur.data.datasets.base import PARTS, Dataset, dataset, file_error

_FREE, _TIMES = 1 << 26, 16
"""An ``.npz`` may unpack to so many bytes, or to so many times its own, whichever is more. Three copies of the arrays
are there at times, so that a small file takes 200 MB at most."""
_KERAS_PARTS = ("x_train", "y_train", "x_test", "y_test")
_ALLOWED = ("a Dataset, (train_x, train_y, test_x, test_y), ((train_x, train_y), (test_x, test_y)), "
           "(train_loader, test_loader), or a mapping with the keys " + ", ".join(PARTS))


def from_function(spec: str) -> Dataset:
    """The data that ``pkg.module:function`` gives when it is called without arguments.

    It may give a :class:`~secateur.data.datasets.base.Dataset`; four tensors or arrays; two pairs of them; two
    iterables of ``(inputs, labels)`` batches, such as DataLoaders (read once, in their order); or a
    mapping with the keys ``train_x, train_y, test_x, test_y`` and, if wanted, ``classes``.

    Raises:
        SecateurError: it cannot be imported or called, or gives something else.
    """
    function = registry.import_path(spec, "data set")
    if not callable(function):
        raise SecateurError(f"data set '{spec}': it is {type(function).__name__}; "
                            "allowed: a function without arguments")
    with failing(f"data set '{spec}' failed"):
        made = function()
    return from_object(spec, made)


def from_object(spec: str, made: Any) -> Dataset:
    """The data that a function gave; ``spec`` is its import path.

    Raises:
        SecateurError: it is nothing of what :func:`from_function` takes.
    """
    return made if isinstance(made, Dataset) and made.digest else dataset(spec, **_parts(spec, made))


def from_arrays(path: Path, arrays: Mapping[str, Any]) -> Dataset:
    """The data of a file with the arrays ``train_x, train_y, test_x, test_y`` (or, as Keras
    writes them, ``x_train, y_train, x_test, y_test``) and, if wanted, ``classes``.

    Raises:
        SecateurError: an array is missing.
    """
    if not set(PARTS) <= arrays.keys() and set(_KERAS_PARTS) <= arrays.keys():
        arrays = {PARTS[_KERAS_PARTS.index(k)] if k in _KERAS_PARTS else k: a for k, a in arrays.items()}
    return dataset(path.name, **_parts(str(path), arrays))


def has_labels(arrays: Mapping[str, Any]) -> bool:
    """Whether arrays by name are training and test samples with labels."""
    return any(set(names) <= arrays.keys() for names in (PARTS, _KERAS_PARTS))


def read_arrays(path: Path) -> dict[str, Any]:
    """The arrays of an ``.npz``, ``.npy`` or ``.safetensors`` file by name; that of an ``.npy`` is named ``""``.

    No pickle is read.

    Raises:
        SecateurError: the file is missing or damaged.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(path))
        if path.suffix == ".npy":
            return {"": np.load(path, allow_pickle=False)}
        _check_size(path)
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except SecateurError:
        raise
    except FileNotFoundError as error:
        raise file_error(path, "is missing") from error
    # NumPy and zipfile raise some twenty classes of errors on damaged files; MemoryError is one of them.
    except Exception as error:
        raise file_error(path, f"is not a valid {path.suffix} file of plain arrays: {first_line(error)}") from error


def _check_size(path: Path) -> None:
    """Refuse an ``.npz`` that would unpack to far more than it has."""
    with zipfile.ZipFile(path) as archive:
        total = sum(info.file_size for info in archive.infolist())
    if total > (most := max(_FREE, _TIMES * path.stat().st_size)):
        raise file_error(path, f"would unpack to {total} bytes; allowed are {most}: save it uncompressed with "
                               "numpy.savez")


def _parts(spec: str, made: Any) -> dict[str, Any]:
    """The arguments of :func:`~secateur.data.datasets.base.dataset`, from whatever was given."""
    if isinstance(made, Dataset):
        made = {**{part: getattr(made, part) for part in PARTS}, "classes": made.classes}
    if isinstance(made, Mapping):
        return _from_mapping(spec, made)
    if isinstance(made, (tuple, list)) and len(made) == 2:
        made = (*_pair(spec, made[0]), *_pair(spec, made[1]))
    if not isinstance(made, (tuple, list)) or len(made) != 4:
        size = f" of {len(made)}" if isinstance(made, (tuple, list)) else ""
        raise SecateurError(f"data set '{spec}' returned a {type(made).__name__}{size}; allowed: {_ALLOWED}")
    return {part: _tensor(spec, part, value) for part, value in zip(PARTS, made, strict=True)}


def _from_mapping(spec: str, made: Mapping[str, Any]) -> dict[str, Any]:
    if missing := [part for part in PARTS if part not in made]:
        raise SecateurError(f"data set '{spec}' lacks {', '.join(missing)}; needed: {', '.join(PARTS)}, "
                            f"got: {', '.join(map(str, made)) or 'nothing'}")
    parts: dict[str, Any] = {part: _tensor(spec, part, made[part]) for part in PARTS}
    return {**parts, "classes": int(made["classes"])} if "classes" in made else parts


def _pair(spec: str, half: Any) -> tuple[Any, Any]:
    if isinstance(half, (tuple, list)) and len(half) == 2 and all(isinstance(v, (Tensor, np.ndarray)) for v in half):
        return half[0], half[1]
    if not isinstance(half, Iterable) or isinstance(half, (Tensor, np.ndarray, str)):
        raise SecateurError(f"data set '{spec}' returned a {type(half).__name__} for train or test; allowed: "
                            f"{_ALLOWED}")
    with failing(f"data set '{spec}': its batches are not (inputs, labels)"):
        batches = [(torch.as_tensor(x), torch.as_tensor(y)) for x, y in half]
        return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def _tensor(spec: str, part: str, value: Any) -> Tensor:
    with failing(f"data set '{spec}': {part} is not a tensor or array"):
        return torch.as_tensor(value)
