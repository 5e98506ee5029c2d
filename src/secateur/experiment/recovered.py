"""Recovered networks in a run's folder, so that none is recovered twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from secateur import files
from secateur.core.errors import SecateurError
from secateur.experiment.point import Point
from secateur.experiment.store import key_of

MOST_BYTES = 1 << 30
"""Bytes of recovered networks that a run's folder holds at most, a GiB."""


class RecoveredNetworks:
    """The networks that were recovered from one trained network, in files of :func:`secateur.save`, without their
    zeros; a network that has none is recovered again.

    Args:
        folder: where they lie; None to keep none.
        trained: the key of the trained network.
        make_model: makes the network as it was before the cut.
    """

    def __init__(self, folder: Path | None, trained: str, make_model: Callable[[], nn.Module]):
        self.folder, self.trained, self.make_model = folder, trained, make_model

    def _path(self, point: Point) -> Path | None:
        """The file of a point; None where none is kept, or a link stands in its place, which no study makes."""
        if self.folder is None:
            return None
        path = self.folder / f"{key_of({'trained': self.trained, **point.settings()})}.safetensors"
        return None if path.is_symlink() or self.folder.is_symlink() else path

    def load(self, point: Point) -> nn.Module | None:
        """The network of a point, every bit as it was kept; None where there is none that can be read."""
        path = self._path(point)
        if path is None or not path.exists():
            return None
        try:
            return files.load(path, self.make_model).eval()
        except SecateurError:
            return None  # it can be made again, so a damaged file is no reason to stop

    def keep(self, point: Point, network: nn.Module) -> None:
        """Keep the network of a point where there is room for it and it can be saved.

        Raises:
            RunError: the folder cannot be made.
        """
        path = self._path(point)
        if path is None or self.folder is None or not _fits(network, self.folder):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            files.save(network, path)
        except SecateurError:
            return  # no file can hold it; what is not kept is recovered again


def _fits(network: nn.Module, folder: Path) -> bool:
    """Whether there is room for one more network."""
    held = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    try:
        return held + files.file_bytes(network) <= MOST_BYTES
    except SecateurError:
        return False
