"""What a command is told of a network besides its name: the settings that several commands have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from secateur.core.settings import NETWORK, Settings, setting


def trust() -> Any:
    """The setting ``--trust``, for every command that opens what could be a program."""
    return setting(False, "open a file that can run code, such as a .pt2; use it only if you know who made the "
                          "file", group=NETWORK)


@dataclass(frozen=True, kw_only=True)
class Options(Settings):
    """What is said of a network besides its name; ``shape`` and ``classes`` are those of the data, where known."""

    factory: str = setting("", "pkg.module:factory or built-in name that builds the network of a file of weights",
                           flag=False)
    weights: str = setting("", "trained weights for the model (.safetensors)", group=NETWORK)
    shape: tuple[int, ...] = setting((), "shape of one input without the batch axis; for a text model, tokens per "
                                     "sentence (default: the shape that the model states, or 3,32,32)",
                                     group=NETWORK, least=1, repeats=True)
    classes: int = setting(0, "number of classes, for a built-in network or a factory with a parameter classes or "
                           "num_classes; 0 stands for 10", group=NETWORK, least=1)
    example: str = setting("", "pkg.module:name of example inputs, or of a function that makes them: a tensor, a tuple "
                           "or a dict, with samples along the first axis", group=NETWORK)
    trust: bool = trust()
