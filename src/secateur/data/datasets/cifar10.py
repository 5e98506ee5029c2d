"""CIFAR-10: 50,000 + 10,000 colour photographs of 32x32 pixels in ten classes."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from secateur.data.datasets._download import obtain
from secateur.data.datasets.base import Dataset, Source, dataset, file_error

FILE = "cifar-10-binary.tar.gz"
_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
_MIRRORS = (
    "https://www.cs.toronto.edu/~kriz/",
    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
)
TRAIN = tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6))
TEST = ("cifar-10-batches-bin/test_batch.bin",)
SHAPE = (3, 32, 32)
_IMAGES_A_BATCH = 10000


class Cifar10(Source):
    """Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009.

    Pixels divided by 255, ``(n, 3, 32, 32)``, from the archive in binary form (no pickle). Its SHA-256
    (that of TensorFlow Datasets) and the size of every batch are checked.
    """

    def load(self) -> Dataset:
        """Read the archive, fetched where it is missing."""
        path = obtain("cifar10", FILE, _MIRRORS, check_archive)
        check_archive(path)
        return dataset("cifar10", *read_batches(path, TRAIN), *read_batches(path, TEST), classes=10)


def check_archive(path: Path) -> None:
    """Refuse an archive with other bytes than the published one."""
    try:
        with path.open("rb") as stream:
            got = hashlib.sha256()
            while chunk := stream.read(1 << 20):
                got.update(chunk)
    except OSError as error:
        raise file_error(path, f"cannot be read: {error.strerror or error}") from error
    if got.hexdigest() != _SHA256:
        raise file_error(path, f"is truncated or was altered: SHA-256 {got.hexdigest()}, expected {_SHA256}")


def read_batches(path: Path, members: tuple[str, ...], images: int = _IMAGES_A_BATCH) -> tuple[Tensor, Tensor]:
    """The images, uint8 ``(n, 3, 32, 32)``, and labels, int64 ``(n,)``, of some batches of the archive.

    Raises:
        SecateurError: a batch is missing or of another size than ``images`` records.
    """
    record = 1 + int(np.prod(SHAPE))
    parts = []
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in members:
                stream = archive.extractfile(member)
                raw = stream.read() if stream else b""
                if len(raw) != images * record:
                    raise file_error(path, f"holds a {member} of {len(raw)} bytes, expected {images * record}")
                parts.append(np.frombuffer(raw, np.uint8).reshape(images, record))
    except (KeyError, EOFError, OSError, tarfile.TarError, zlib.error) as error:
        raise file_error(path, f"cannot be unpacked: {error}") from error
    rows = torch.from_numpy(np.concatenate(parts))
    return rows[:, 1:].reshape(-1, *SHAPE), rows[:, 0].long()
