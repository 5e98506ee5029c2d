"""What a command is told of a network besides its name: the settings that several commands have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from secateur.core.settings import NETWORK, Settings, setting


def trust() -> Any:
    """The setting ``--trust``, for every command that opens what could be a program."""
    return setting(False, "open a file that is a program, such as a .pt2: you know who made it", group=NETWORK)


@dataclass(frozen=True, kw_only=True)
class Options(Settings):
    """What is said of a network besides its name; ``shape`` and ``classes`` are those of the data, where known."""

    factory: str = setting("", "pkg.module:factory or built-in name that makes the network of a file of weights",
                           flag=False)
    weights: str = setting("", "of a model: its trained weights (.safetensors)", group=NETWORK)
    shape: tuple[int, ...] = setting((), "the shape of one input, without the batch, or for a network of sentences how "
                                     "many tokens each has (default: what the network tells, or 3,32,32)",
                                     group=NETWORK, least=1, repeats=True)
    classes: int = setting(0, "how many outputs a sample has, for a built-in network or a factory that asks for "
                           "classes or num_classes; 0: 10", group=NETWORK, least=1)
    example: str = setting("", "pkg.module:name of the inputs, or of a function that makes them: a tensor, a tuple or "
                           "a dict, samples along the first axis", group=NETWORK)
    trust: bool = trust()
