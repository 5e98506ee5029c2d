"""Checkpoints of a training: network, optimizer, pruner, schedulers and random generators, so that it goes on alike."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from secateur.core.errors import SecateurError, failing
from secateur.core.paths import write_whole


class _Stateful(Protocol):
    """What can be saved: networks, optimizers, learning-rate schedulers, pruners, scalers."""

    def state_dict(self) -> Any:
        """What it remembers."""

    def load_state_dict(self, state: Any) -> Any:
        """Go on from it."""


def save(path: str | Path, parts: Mapping[str, _Stateful]) -> None:
    """Write the state of all parts, and of the random generators of torch, its GPUs, Python and NumPy, to one file.

    An older file is replaced once the new one is complete.

    Args:
        path: the file.
        parts: any names, for example ``{"model": model, "optimizer": optimizer, "pruner": pruner}``.

    Raises:
        SecateurError: the file cannot be written.
    """
    path = Path(path)
    whole = {"parts": {name: part.state_dict() for name, part in parts.items()}, "random": _generators()}
    with write_whole(path) as scratch, failing(f"cannot write '{path}'"):
        torch.save(whole, scratch)


def load(path: str | Path, parts: Mapping[str, _Stateful]) -> None:
    """Restore every part and the random generators. The pruner is made before, with the same settings.

    Raises:
        SecateurError: the file cannot be read, holds other parts, or is no such file.

    >>> import tempfile
    >>> from torch import nn
    >>> net, file = nn.Linear(2, 2), Path(tempfile.mkdtemp()) / "at-5.pt"
    >>> save(file, {"model": net})
    >>> first = torch.rand(1)
    >>> load(file, {"model": net})
    >>> bool(torch.rand(1) == first)
    True
    """
    with failing(f"{path} cannot be read"):
        whole = torch.load(path, weights_only=True, map_location="cpu")
    if not isinstance(whole, dict) or set(whole) != {"parts", "random"}:
        raise SecateurError(f"{path} is not a secateur checkpoint; allowed: a file written by training.save")
    if set(whole["parts"]) != set(parts):
        raise SecateurError(f"{path} holds {', '.join(sorted(whole['parts']))}; asked for {', '.join(sorted(parts))}: "
                            "allowed are the same names")
    for name, part in parts.items():
        part.load_state_dict(whole["parts"][name])
    _restore(whole["random"])


def _generators() -> dict[str, Any]:
    """The states of the random generators."""
    version, internal, gauss = random.getstate()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    numpy: Any = np.random.get_state(legacy=False)
    # a list, because torch.load(weights_only=True) reads no NumPy arrays
    keys = {**numpy["state"], "key": numpy["state"]["key"].tolist()}
    return {"torch": torch.get_rng_state(), "cuda": cuda, "python": [version, list(internal), gauss],
            "numpy": {**numpy, "state": keys}}


def _restore(states: Mapping[str, Any]) -> None:
    """Set the random generators to their states."""
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
    if numpy := states.get("numpy"):
        np.random.set_state({**numpy, "state": {**numpy["state"], "key": np.array(numpy["state"]["key"], np.uint32)}})
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
