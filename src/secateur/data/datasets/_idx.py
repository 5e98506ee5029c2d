"""The IDX format of MNIST and its kin: big-endian header, then the bytes of one array.

The header is two zero bytes, the type (8: unsigned bytes), the number of dimensions, and each
dimension as four bytes. Files are gzipped.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from secateur.data.datasets._download import obtain
from secateur.data.datasets.base import Dataset, dataset, file_error

_UNSIGNED_BYTE = 8
_SHAPES = {"train-images-idx3-ubyte.gz": (60000, 28, 28), "train-labels-idx1-ubyte.gz": (60000,),
           "t10k-images-idx3-ubyte.gz": (10000, 28, 28), "t10k-labels-idx1-ubyte.gz": (10000,)}


@dataclass(frozen=True)
class IdxFile:
    """What a file must be.

    ``sha256`` is that of the unpacked bytes (files packed anew are accepted), ``packed_sha256`` that of
    the file as it is; an empty one is not checked.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str = ""
    packed_sha256: str = ""


def mnist_files(*sums: str, packed: bool = False) -> list[IdxFile]:
    """The four files of MNIST and its kin; ``sums`` are their SHA-256, unpacked, or with ``packed`` as they are."""
    field = "packed_sha256" if packed else "sha256"
    return [IdxFile(name, shape, **{field: total}) for (name, shape), total in zip(_SHAPES.items(), sums, strict=True)]


def load_idx(name: str, files: Sequence[IdxFile], mirrors: Sequence[str], places: Sequence[str] = ()) -> Dataset:
    """A data set of ten classes from its four files: train images, train labels, test images, test labels.

    Raises:
        SecateurError: a file is missing and cannot be fetched, is truncated or was altered.
    """
    arrays = []
    for file in files:
        path = obtain(name, file.name, mirrors, lambda p, f=file: read_idx(p, f), places)  # type: ignore[misc]
        arrays.append(read_idx(path, file))
    train_x, train_y, test_x, test_y = arrays
    return dataset(name, train_x.unsqueeze(1), train_y, test_x.unsqueeze(1), test_y, classes=10)


def read_idx(path: Path, file: IdxFile) -> Tensor:
    """The array of one gzipped IDX file: uint8, in the shape that ``file`` says.

    Raises:
        SecateurError: the file is missing, truncated, not IDX, of another shape, or altered.
    """
    packed = _read(path)
    if file.packed_sha256:
        _check_sum(path, packed, file.packed_sha256)
    raw = _unpack(path, packed)
    header = 4 + 4 * len(file.shape)
    magic = bytes([0, 0, _UNSIGNED_BYTE, len(file.shape)])
    if raw[:4] != magic or len(raw) < header:
        raise file_error(path, f"is not the expected IDX file: magic number {raw[:4].hex()}, expected "
                               f"{magic.hex()}")
    shape = struct.unpack(f">{len(file.shape)}I", raw[4:header])
    if shape != file.shape:
        raise file_error(path, f"has shape {shape}, expected {file.shape}")
    if len(raw) - header != np.prod(shape):
        raise file_error(path, f"is truncated or too long: {len(raw) - header} bytes of data, expected "
                               f"{np.prod(shape)}")
    if file.sha256:
        _check_sum(path, raw, file.sha256)
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=header).reshape(shape).copy())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise file_error(path, f"cannot be read: {error.strerror or error}") from error


def _unpack(path: Path, packed: bytes) -> bytes:
    if not packed:
        raise file_error(path, "is truncated: 0 bytes")
    try:
        return gzip.decompress(packed)
    except EOFError as error:
        raise file_error(path, f"is truncated: {len(packed)} bytes, the gzip stream is incomplete") from error
    except (OSError, zlib.error) as error:
        raise file_error(path, f"is damaged or not gzip: {error}") from error


def _check_sum(path: Path, content: bytes, expected: str) -> None:
    got = hashlib.sha256(content).hexdigest()
    if got != expected:
        raise file_error(path, f"was altered: SHA-256 {got}, expected {expected}")
