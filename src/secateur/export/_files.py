"""A network from a file that ``secateur.save`` wrote, with inputs to trace it with."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from secateur import files, models, registry
from secateur.errors import SecateurError
from secateur.record import sketched, steps

KNOWN = (1, 28, 28)


def network_of(path: Path, model: str, shape: tuple[int, ...], classes: int, example: Any) -> nn.Module:
    """The network of a file: made by what ``model`` names, or run from the graph that the file holds.

    Raises:
        SecateurError: the file is missing, damaged, of other origin, or of another network.
    """
    if not model:
        if not files.tell(path).runnable:
            raise SecateurError(f"'{path}' holds no graph to run: say what makes the network as it was before the "
                                "first cut, --model pkg.module:factory or a built-in name")
        return files.load(path)
    hint = "; --shape and --classes say what it is made for" if model in registry.files("models") else ""
    try:
        return files.load(path, partial(models.made, model, shape or KNOWN, classes), example).eval()
    except SecateurError as error:
        raise SecateurError(f"{error}{hint}") from error


def example_for(path: Path, network: nn.Module, shape: tuple[int, ...], example: Any) -> Any:
    """Inputs of a network: those given, random ones of a shape, or of that which it was made for or traced with.

    Raises:
        SecateurError: nothing says what it takes.
    """
    if example is not None:
        return example
    known = shape or getattr(network, "shape", ())
    if known:
        return torch.rand(2, *known, generator=torch.Generator().manual_seed(0))
    cuts = steps(network)
    if cuts and cuts[-1].example:
        return sketched(cuts[-1].example, torch.device("cpu"))
    raise SecateurError(f"'{path}' does not tell what the network takes: give --shape, such as 3,32,32, or --example "
                        "pkg.module:name of the inputs")
