"""The contract of a kind of network: recognises what was typed, loads it, and says how it is made again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from secateur.core.errors import SecateurError
from secateur.core.network_options import Options


@dataclass(frozen=True, eq=False)
class Source:
    """A network that a user has.

    Attributes:
        make: makes it, with its weights, anew at each call.
        again: what makes the network that :func:`secateur.load` needs, as Python: as it was before any cut.
        original: the same as a function, where it is another than ``make``.
        example: one input, a tuple or a dict of them; None where the source does not know any.
        encode: what makes the inputs of sentences, where the source knows.
        notes: what a reader has to know of it.
        batch: the only size of a batch that it takes; 0 where it takes any.
        drawn: what of the example was drawn at random, in words.
    """

    make: Callable[[], nn.Module]
    again: str
    example: Any = None
    encode: Callable[[list[str]], dict[str, Any]] | None = None
    notes: tuple[str, ...] = ()
    batch: int = 0
    original: Callable[[], nn.Module] | None = None
    drawn: str = ""


class Kind(ABC):
    """One kind of network; one file of this folder, one kind.

    ``form`` is how it is written: ``FILE.ending``, ``prefix:NAME`` or the path of what is there, so that commands can
    refuse all else before torch is imported (:func:`secateur.core.names.check_network`). ``suffix`` is that of its own
    files, where a cut network can be written as one (empty with ``folder``: a folder), ``fits`` says that it is made
    for the shape and classes of the data.
    """

    form: ClassVar[str]
    suffix: ClassVar[str] = ""
    folder: ClassVar[bool] = False
    fits: ClassVar[bool] = False

    @abstractmethod
    def recognises(self, text: str) -> bool:
        """Whether a text names a network of this kind."""

    def check(self, text: str) -> None:
        """Refuse a text that names nothing, before any other setting is looked at.

        Raises:
            SecateurError: it is the name of a file that is not there.
        """
        if self.form.startswith("FILE") and not (path := Path(text).expanduser()).is_file():
            raise SecateurError(f"cannot read '{path}': there is no such file")

    @abstractmethod
    def load(self, text: str, options: Options) -> Source:
        """The network that a text names.

        Raises:
            SecateurError: there is none, or it cannot be read; the message says what is allowed.
            ImportError: a package that reads it is not installed; the message has the command that installs it.
        """

    def write(self, network: nn.Module, text: str, path: Path) -> None:
        """Write a cut network of the same shapes as a file or folder of this kind.

        Raises:
            SecateurError: this kind has no files.
        """
        raise SecateurError(f"'{path}': a network from {self.form} is written as .safetensors or .pt2")


CONTRACT = Kind


def refuse(options: Options, what: str, *names: str) -> None:
    """Refuse options that a kind has no use for."""
    for name in names:
        if value := getattr(options, name):
            raise SecateurError(f"{name} '{value}' cannot be used with {what}: give only one of them")
