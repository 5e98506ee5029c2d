"""The contract of an export format: write a file, and open it again with the format's own runtime."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from torch import Tensor

from secateur.core.errors import MissingExtraError
from secateur.files.exporters._program import Subject

Int8 = bool | Literal["narrow"]
"""Whether a file computes in int8; ``narrow``: with weights of seven bits, whose sums overflow on no processor."""
Run = Callable[[Sequence[Tensor]], list[Tensor]]
"""Takes the tensors of a network's inputs in their order, gives those of its outputs."""


class Format(ABC):
    """One format. A file in this folder defines one, and is found by a scan.

    Attributes:
        suffix: the end of its files' names, with the dot.
        packages: the modules that it needs besides torch.
        extra: the extra of this package that installs them.
        options: what it can do besides the plain file: ``int8``.
    """

    suffix: str
    packages: tuple[str, ...] = ()
    extra = ""
    options: frozenset[str] = frozenset()

    def check_installed(self) -> None:
        """Refuse before any work is done where a package is missing.

        Raises:
            MissingExtraError: it names the package and the command that installs it.
        """
        for module in self.packages:
            if find_spec(module) is None:
                raise MissingExtraError(module, self.extra, f"export to {self.suffix}")


class Exporter(Format):
    """A format of networks. The file that :meth:`write` wrote is checked by running what :meth:`open` gives.

    ``traced`` says that the file holds the network's code, which takes an example to trace.
    """

    traced = True

    @abstractmethod
    def write(self, subject: Subject, path: Path, int8: Int8 = False) -> None:
        """Write the network to ``path``, and what does not fit into that file to others of the same stem beside it.

        Raises:
            SecateurError: the format cannot hold the network; the message says why.
        """

    @abstractmethod
    def open(self, path: Path, subject: Subject) -> Run:
        """The file, read back and ready to run. It takes from the network only what the format does not hold."""

    def suits(self, path: Path) -> str:
        """Which processors a written file is for, in words; empty where that is any."""
        return ""

    def runtime(self) -> str:
        """The program that runs the file, in words."""
        return "torch"


class RunExporter(Format):
    """A format of whole runs."""

    @abstractmethod
    def write(self, folder: Path, path: Path) -> None:
        """Write what a run's folder holds to ``path``, read it back and compare.

        Raises:
            RunError: the folder holds no run.
            MeasurementError: what was read back differs.
        """


CONTRACT = Format
