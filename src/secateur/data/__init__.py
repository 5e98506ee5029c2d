"""Data sets: train and test tensors. One file each, see ``base.py`` for the contract."""

from __future__ import annotations

from pathlib import Path

from secateur.core import registry
from secateur.data.datasets.base import Dataset, Source, dataset, digest
from secateur.data.user_data import from_arrays, from_function, read_arrays

__all__ = ["Dataset", "Source", "dataset", "digest", "resolve"]


def resolve(spec: str) -> Dataset:
    """The data set behind a name, ``pkg.module:function``, or ``file.npz``.

    Raises:
        SecateurError: an unknown name, a file that is missing or damaged, data that are not as they should be.

    >>> resolve("digits").train_x.shape
    torch.Size([1437, 1, 8, 8])
    """
    if spec.endswith(".npz"):
        path = Path(spec).expanduser()
        return from_arrays(path, read_arrays(path))
    if ":" in spec:
        return from_function(spec)
    source: Source = registry.get("data", spec)()
    return source.load()
