"""What the header of a file tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.files.native.header import Header
from secateur.files.native.layout import Stored
from secateur.pruning.history import Step


@dataclass(frozen=True)
class Content:
    """What the header of a file tells.

    Attributes:
        path: the file.
        version: of the format.
        secateur, torch: the versions that wrote it; of format 1 torch's is not known.
        network: the name of the network's class.
        tensors: of the network, in its order.
        constants: of its graph, which are none of its tensors.
        steps: the cuts of neurons.
        settings: what was given to :func:`secateur.save`.
        program: the bytes of the network's graph; 0 where it holds none.
        data: the checksum of the tensors.
        header: the header itself.
    """

    path: Path
    version: int
    secateur: str
    torch: str
    network: str
    tensors: dict[str, Stored]
    constants: dict[str, Stored]
    steps: tuple[Step, ...]
    settings: dict[str, Any]
    program: int
    data: str
    header: Header
