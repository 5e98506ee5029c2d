"""What ``--data`` names: a labelled data set, or samples without labels, of which some are held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from secateur import data as datasets
from secateur.core import registry
from secateur.core.errors import SecateurError, failing, first_line
from secateur.core.names import DATA_FILES
from secateur.data.batch import Batch, as_batch
from secateur.data.calibration import Calibration, calibration
from secateur.data.datasets.base import PARTS, Dataset
from secateur.data.user_data import from_arrays, from_object, has_labels, read_arrays

_Encode = Callable[[list[str]], dict[str, Any]] | None
_SIZE, _HELD_OUT = 32, 5
GIVEN = ("pass samples with --data (inputs.npy, .npz or .safetensors, sentences.txt if the network has a tokenizer, "
         "pkg.module:name); --calibration N sets how many are used")


@dataclass(frozen=True, eq=False)
class HeldOutSamples:
    """Samples without labels: those that are shown to what needs data, and those that figures are measured on."""

    shown: Calibration
    held: Calibration
    note: str = ""


def read(data: str, encode: Callable[[], _Encode], batch: int = 0) -> Dataset | HeldOutSamples:
    """The data that a name, a path or an import path stands for.

    Args:
        data: a built-in data set; an ``.npz`` with ``train_x, train_y, test_x, test_y``; samples without labels in an
            ``.npz`` or ``.safetensors`` (a tensor for each argument, named as it; one tensor alone is the only
            input), an ``.npy``, a text with a sentence a line; or an import path of any of these as tensors, a dict,
            an iterable of batches.
        encode: gives what turns sentences into inputs.
        batch: the only size of a batch that the network takes; 0 where it takes any.

    Raises:
        SecateurError: it is missing, damaged, or something else.
    """
    suffix = Path(data).suffix if ":" not in data else ""
    if suffix == ".txt":
        return _read_sentences(Path(data).expanduser(), encode(), batch)
    if suffix in DATA_FILES:
        path = Path(data).expanduser()
        found = read_arrays(path)
        if suffix == ".npz" and has_labels(found):
            return from_arrays(path, found)
        tensors = {name: _as_network_input(data, name, value) for name, value in found.items()}
        return _hold_out(next(iter(tensors.values())) if len(tensors) == 1 else tensors, data, batch)
    if ":" not in data:
        return datasets.resolve(data)
    given = _call_import(data)
    return from_object(data, given) if _is_labelled(given) else _hold_out(given, data, batch)


def _as_network_input(data: str, name: str, value: Any) -> Tensor:
    """An array as a tensor that networks take: floats as float32, bytes as they are."""
    with failing(f"data '{data}': '{name}' is not an array of numbers"):
        tensor = torch.as_tensor(value)
    return tensor.float() if tensor.dtype == torch.float64 else tensor


def _call_import(data: str) -> Any:
    """The object behind an import path; what it gives, where it is a function."""
    found = registry.import_path(data, "data set")
    if callable(found) and not isinstance(found, (Tensor, Mapping)):
        with failing(f"data set '{data}' failed"):
            return found()
    return found


def _is_labelled(given: Any) -> bool:
    """Whether an object has training and test samples with labels, as :func:`secateur.data.resolve` takes them.

    >>> _is_labelled({"train_x": 0, "train_y": 0, "test_x": 0, "test_y": 0}), _is_labelled(torch.zeros(4, 2))
    (True, False)
    """
    if isinstance(given, Mapping):
        return set(PARTS) <= given.keys()
    if isinstance(given, (tuple, list)) and len(given) == 4:
        return all(isinstance(v, (Tensor, np.ndarray)) for v in given)
    pair = isinstance(given, (tuple, list)) and len(given) == 2
    return isinstance(given, Dataset) or (pair and not any(isinstance(v, (Tensor, np.ndarray, Mapping)) for v in given))


def _hold_out(given: Any, data: str, batch: int) -> HeldOutSamples:
    """Samples in an order that is always the same, a fifth of them held out; none are where there are too few.

    Raises:
        SecateurError: they are nothing that :func:`secateur.data.calibration.calibration` takes.
    """
    found = calibration({k: torch.as_tensor(v) for k, v in given.items()} if isinstance(given, Mapping) else given)
    if found is None:
        raise SecateurError(f"data set '{data}' returned None; allowed are samples")
    batches = list(found)
    whole = isinstance(given, (Tensor, np.ndarray, Mapping)) or len(batches) < _HELD_OUT
    parts = _shuffle(batches, batch or _SIZE) if whole else batches
    if batch:
        parts = [b for b in parts if len(b) == batch]
    held = parts[_HELD_OUT - 1::_HELD_OUT]
    if not held:
        one = Calibration(parts or batches)
        return HeldOutSamples(one, one, f"'{data}' has too few samples to hold some out; outputs are compared on the "
                                        "samples that the cut used")
    shown = Calibration([b for i, b in enumerate(parts) if i % _HELD_OUT != _HELD_OUT - 1])
    return HeldOutSamples(shown, Calibration(held))


def _shuffle(batches: list[Batch], size: int) -> list[Batch]:
    """The samples of some batches in batches of ``size`` at most, in an order that is always the same.

    Batches whose samples do not go together, such as sequences of several lengths, stay as they are.
    """
    if len({tuple(_kind_of(value, len(b)) for value in (*b.inputs, b.labels)) for b in batches}) > 1:
        return batches
    count = sum(map(len, batches))
    columns = [torch.cat(column) if _is_by_sample(column[0], len(batches[0])) else column[0]
               for column in zip(*((*b.inputs, b.labels) for b in batches), strict=True)]
    # small enough for as many batches as it takes to hold one out
    size = min(size, max(1, count // _HELD_OUT))
    made = []
    for places in torch.randperm(count, generator=torch.Generator().manual_seed(0)).split(size):
        *inputs, labels = (c[places] if _is_by_sample(c, count) else c for c in columns)
        made.append(Batch(tuple(inputs), labels, batches[0].names))
    return made


def _is_by_sample(value: Any, count: int) -> bool:
    """Whether a value has a row for each of ``count`` samples."""
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) == count


def _kind_of(value: Any, count: int) -> Any:
    """What must be equal for values of two batches to go into one batch."""
    if not isinstance(value, Tensor):
        return value
    return (tuple(value.shape[1:]) if _is_by_sample(value, count) else tuple(value.shape), value.dtype)


def _read_sentences(path: Path, encode: _Encode, batch: int) -> HeldOutSamples:
    """The sentences of a text, one a line, as inputs; sentences of like length share a batch, so that little is padded.

    Raises:
        SecateurError: the file is missing or empty, or nothing turns sentences into inputs.
    """
    if encode is None:
        raise SecateurError(f"data '{path}' holds sentences, but the network has no tokenizer; sentences need a "
                            "Hugging Face folder with a tokenizer")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise SecateurError(f"data '{path}': {getattr(error, 'strerror', None) or first_line(error)}") from error
    if len(lines) < 2:
        raise SecateurError(f"data '{path}' holds {len(lines)} sentences (one per line); at least 2 are needed")
    order = torch.randperm(len(lines), generator=torch.Generator().manual_seed(0)).tolist()
    count = max(1, len(lines) // _HELD_OUT)
    held, shown = ([lines[i] for i in part] for part in (order[:count], order[count:]))
    return HeldOutSamples(_encode_batches(shown, encode, batch or _SIZE), _encode_batches(held, encode, batch or _SIZE))


def _encode_batches(lines: list[str], encode: Callable[[list[str]], dict[str, Any]], size: int) -> Calibration:
    """Sentences as batches of inputs, in an order that is always the same."""
    lines = sorted(lines, key=len)
    batches = [as_batch(encode(lines[at:at + size])) for at in range(0, len(lines), size)]
    order = torch.randperm(len(batches), generator=torch.Generator().manual_seed(0)).tolist()
    found = calibration([batches[i] for i in order])
    assert found is not None
    return found
